"""The tasks: head, loss, scores and metrics. One document per task."""

from typing import Annotated

from side4video.core.kinds import ByKind
from side4video.tasks.multi_head.spec import MultiHeadSpec
from side4video.tasks.multi_label.spec import MultiLabelSpec
from side4video.tasks.recognition.spec import RecognitionSpec
from side4video.tasks.retrieval.spec import RetrievalSpec

Task = Annotated[RecognitionSpec | RetrievalSpec | MultiLabelSpec | MultiHeadSpec, ByKind()]

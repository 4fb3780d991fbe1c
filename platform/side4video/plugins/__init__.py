"""What an author of plug-ins imports: the bases of data sets, methods and transforms, and what their members take.

    from side4video.plugins import Clip, DatasetSpec, Plugin

    class MyClips(DatasetSpec): ...

    PLUGIN = Plugin(datasets=(MyClips,))

A document names the file in `plugins`; whoever runs it allows the file with `--plugin`. Imports no torch.
"""

from side4video.core.bounds import Count
from side4video.core.errors import InputError
from side4video.core.metric import MetricSpec
from side4video.core.plugin import Plugin
from side4video.core.spec import PathText, Spec, wrong
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.transform_spec import TransformSpec
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING, FeatureRequest
from side4video.models.method import MethodSpec
from side4video.plugins.loading import allow_plugins
from side4video.tasks.recognition.metrics import Scores
from side4video.tasks.retrieval.metrics import RankPair

__all__ = [
    "EMBEDDING",
    "Clip",
    "Count",
    "DatasetSpec",
    "FeatureRequest",
    "InputError",
    "MethodSpec",
    "MetricSpec",
    "PathText",
    "Plugin",
    "RankPair",
    "Scores",
    "Spec",
    "Split",
    "TowerShape",
    "TransformSpec",
    "allow_plugins",
    "wrong",
]

"""The inputs of a task's `assemble`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from side4video.core.metric import MetricSpec
from side4video.engine.process_group import ProcessGroup
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextFeatures, TextTower


@dataclass(frozen=True)
class TaskContext:
    """The parts of an experiment from which a task builds a student."""

    method: MethodSpec
    tower: "FrozenTower"
    frames: int
    """Frames of a clip."""
    classes: tuple[str, ...]
    """Names of the classes."""
    encode_texts: "Callable[..., TextFeatures]"
    """Computes the text tower's features of some texts (`BackboneSpec.encode_texts`)."""
    text_tower: "Callable[[], TextTower]"
    """Builds a new copy of the backbone's text tower."""
    mixes_labels: bool = False
    """Whether a training clip can have two labels, each with a weight."""
    process: ProcessGroup = field(default_factory=ProcessGroup)
    """This worker."""
    extra_metrics: tuple[MetricSpec, ...] = ()
    """Metrics of plug-ins, computed in each evaluation beside the task's own."""
    training_captions: Callable[[], Sequence[str]] = tuple
    """Returns all captions of the training clips, in the order of the clips."""
    training_labels: Callable[[], Sequence[int | None]] = tuple
    """Returns the class positions of the training clips, in the order of the clips."""
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the classes of each head; empty if the data set has no heads."""

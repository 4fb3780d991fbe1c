"""What a task makes a student of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from side4video.engine.process_group import ProcessGroup
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextFeatures, TextTower


@dataclass(frozen=True)
class TaskContext:
    """The parts of an experiment that make a student, all built already but the network."""

    method: MethodSpec
    tower: "FrozenTower"
    frames: int
    """Of a clip."""
    classes: tuple[str, ...]
    """Names of the data set's classes."""
    encode_texts: "Callable[[Sequence[str]], TextFeatures]"
    """The backbone's text tower, asked once."""
    text_tower: "Callable[[], TextTower]"
    """The backbone's text tower, a copy for each call."""
    mixes_labels: bool = False
    """Whether a training clip may have two of them, each with a share."""
    process: ProcessGroup = field(default_factory=ProcessGroup)
    """This worker."""
    training_captions: Callable[[], Sequence[str]] = tuple
    """All captions of the training clips, in their order."""

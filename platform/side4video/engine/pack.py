"""A pack: one frozen tower and the students that read it."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from side4video.engine.student import Student


class Batch(Protocol):
    """Clips on their way to the device."""

    video_BTCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor
    views_B: Tensor

    def to(self, device: Any) -> "Batch":
        """The same on a device."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class MockBatch:
    """Frames alone, of a batch that nobody recorded."""

    video_BTCHW: Tensor
    stored: Mapping[str, Tensor] | None = None
    """What would be kept of the tower's features of them; None where they are computed."""


class TrainingBatches(Protocol):
    """A source of training steps that can begin anywhere."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass."""
        ...

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Sequence[Batch]]:
        """This worker's parts of each step of an epoch."""
        ...


class EvaluationBatches(Protocol):
    """A source of evaluation batches, each seen by one worker."""

    def batches(self) -> Iterator[Batch]:
        """This worker's batches."""
        ...


@dataclass(frozen=True)
class Pack:
    """The students of one backbone pass.

    `features(batch, reads)` gives what the students read of the frozen tower, as deep as somebody reads; it never
    builds a graph.
    """

    features: Callable[[Any, Any], Any]
    students: Sequence[Student]

    @property
    def active_students(self) -> list[Student]:
        """The students that still train."""
        return [student for student in self.students if student.is_training]

    def features_for(self, students: Sequence[Student], batch: "Batch | MockBatch") -> Any:
        """One frozen pass that serves all of `students` and reads nothing that none of them asked for."""
        return self.features(batch, functools.reduce(operator.or_, (student.reads for student in students)))

"""A pack: one frozen tower and the students that read it."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from side4video.engine.student import Student


class Batch(Protocol):
    """A batch of clips."""

    video_BTCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor
    views_B: Tensor

    def to(self, device: Any) -> "Batch":
        """The batch on a device."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class MockBatch:
    """A batch of frames without labels, for a dry run."""

    video_BTCHW: Tensor
    stored: Mapping[str, Tensor] | None = None
    """Cached features of the frames; None if they are computed."""


class TrainingBatches(Protocol):
    """A source of training batches that can start at any step."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        ...

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Sequence[Batch]]:
        """This worker's micro-batches of each step of an epoch."""
        ...


class EvaluationBatches(Protocol):
    """A source of evaluation batches; each goes to one worker."""

    def batches(self) -> Iterator[Batch]:
        """This worker's batches."""
        ...


@dataclass(frozen=True)
class Pack:
    """The students of one backbone pass.

    `features(batch, reads)` computes the requested frozen features without a graph; it stops after the last block that
    is needed.
    """

    features: Callable[[Any, Any], Any]
    students: Sequence[Student]

    @property
    def active_students(self) -> list[Student]:
        """The students that still train."""
        return [student for student in self.students if student.is_training]

    def features_for(self, students: Sequence[Student], batch: "Batch | MockBatch") -> Any:
        """Compute the features that `students` need in one frozen pass."""
        return self.features(batch, functools.reduce(operator.or_, (student.reads for student in students)))

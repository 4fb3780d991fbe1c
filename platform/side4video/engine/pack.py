"""A pack: students that train on the same batches, and the frozen towers that they read."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

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
    neighbours_BTKCHW: Tensor | None = None
    """Neighbours of the frames; None where none are read."""


def blank_neighbours(video_BTCHW: Tensor, reach: int) -> Tensor | None:
    """Black neighbours of frames, `reach` on each side; None where that is 0."""
    batch, frames, *rest = video_BTCHW.shape
    return video_BTCHW.new_zeros((batch, frames, 2 * reach, *rest)) if reach else None


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
class FrozenPass:
    """One frozen tower, and the students that read it.

    `features(batch, reads)` computes the requested frozen features without a graph; it stops after the last block that
    is needed.
    """

    features: Callable[[Any, Any], Any]
    students: list[Student]

    def features_for(self, students: Sequence[Student], batch: "Batch | MockBatch") -> Any:
        """Compute the features that some of the students need in one frozen pass."""
        return self.features(batch, functools.reduce(operator.or_, (student.reads for student in students)))


@dataclass(frozen=True)
class Pack:
    """Students that train on the same batches. Those of one tower share its pass; the towers run one after another."""

    passes: list[FrozenPass]
    isolates_failures: bool = False
    """Whether a student whose step raises an error fails alone, and the others go on. With one worker only: other
    workers would wait for its gradients."""

    @classmethod
    def of_one_tower(cls, features: Callable[[Any, Any], Any], students: Sequence[Student]) -> Self:
        """A pack whose students all read one tower; for `features` see `FrozenPass`."""
        return cls([FrozenPass(features, list(students))])

    @property
    def students(self) -> list[Student]:
        """All students."""
        return [student for each in self.passes for student in each.students]

    @property
    def active_students(self) -> list[Student]:
        """The students that still train."""
        return [student for student in self.students if student.is_training]

    def passes_of(self, students: Sequence[Student]) -> list[FrozenPass]:
        """The passes that some of the students need, each with its students among them."""
        names = {student.name for student in students}
        parts = [[student for student in each.students if student.name in names] for each in self.passes]
        return [FrozenPass(each.features, part) for each, part in zip(self.passes, parts, strict=True) if part]

    def features_for(self, students: Sequence[Student], batch: "Batch | MockBatch") -> Any:
        """The features of students of one tower.

        Raises:
            ValueError: They read several towers.
        """
        passes = self.passes_of(students)
        if len(passes) != 1:
            raise ValueError(f"the students {', '.join(each.name for each in students)} read {len(passes)} towers")
        return passes[0].features_for(students, batch)

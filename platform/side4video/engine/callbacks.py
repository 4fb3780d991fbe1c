"""What the loop tells its listeners. A listener may ask to stop a student; it may not reach into the loop."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One finished step. Seconds are this worker's; losses are means over its own clips."""

    step: int
    epoch: int
    clips: float
    """Of all workers."""
    share: float
    """This worker's part of them."""
    losses: dict[str, float]
    gradient_norms: dict[str, float]
    learning_rates: dict[str, float]
    seconds: dict[str, float]
    own_seconds: dict[str, float] = field(default_factory=dict)
    """The part of them that was spent on each student alone."""


@dataclass(slots=True)
class EpochInfo:
    """The end of an epoch; listeners add to `metrics`, by student."""

    epoch: int
    next_step: int
    is_last: bool
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, student: str, metrics: dict[str, float]) -> None:
        """Add metrics of a student."""
        self.metrics.setdefault(student, {}).update(metrics)


class Callback(Protocol):
    """A listener. Every worker calls its hooks at the same points, so a hook may use collectives."""

    def after_step(self, info: StepInfo) -> None:
        """Called once a step's numbers are known, one step late."""
        ...

    def after_epoch(self, info: EpochInfo) -> Collection[str]:
        """Called at the end of an epoch, in the order of the hooks; names of students to stop."""
        ...

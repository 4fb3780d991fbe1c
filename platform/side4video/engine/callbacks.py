"""Callbacks of the training loop. A callback may stop students, but does not change the loop itself."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One finished step. Seconds are this worker's; losses are means over its own clips.

    Checkpoints store open windows of these as JSON with the field names as keys.
    """

    step: int
    epoch: int
    clips: float
    """Clips of the step, over all workers."""
    share: float
    """This worker's fraction of the clips."""
    losses: dict[str, float]
    gradient_norms: dict[str, float]
    learning_rates: dict[str, float]
    seconds: dict[str, float]
    own_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds that were spent on each student, by student."""
    shared_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of what each student shares with others, by student."""


@dataclass(slots=True)
class EpochInfo:
    """The end of an epoch. Callbacks add metrics, which later callbacks read."""

    epoch: int
    next_step: int
    is_last: bool
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    steps: int = 0
    """Steps that each student trains."""
    steps_per_epoch: int = 1

    def own(self, offset: int) -> "EpochInfo":
        """This moment on the clock of a student whose step 0 is step `offset` of the pass (`Student.offset`)."""
        if not offset:
            return self
        next_step = self.next_step - offset
        epoch, is_last = (next_step - 1) // self.steps_per_epoch, next_step == self.steps
        return EpochInfo(epoch, next_step, is_last, steps=self.steps, steps_per_epoch=self.steps_per_epoch)

    @property
    def is_boundary(self) -> bool:
        """Whether an epoch is complete; a student may also end within one."""
        return self.next_step % self.steps_per_epoch == 0

    def add(self, student: str, metrics: dict[str, float]) -> None:
        """Add metrics of a student."""
        self.metrics.setdefault(student, {}).update(metrics)


class Callback(Protocol):
    """A callback. All workers call it at the same points, so it may use collectives."""

    def after_step(self, info: StepInfo) -> None:
        """Called when the losses of a step are known, which is one step later."""
        ...

    def after_epoch(self, info: EpochInfo) -> None:
        """Called at the end of an epoch, in the order of the callbacks."""
        ...

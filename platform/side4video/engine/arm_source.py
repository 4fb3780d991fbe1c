"""Who takes the seats of an endless pass: what the engine tells a source of arms, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class ArmResult:
    """What an arm has reached at the end of an epoch of the pass."""

    epochs: int
    """Epochs that it has trained, on its own clock."""
    state: str
    """`training`, or why it left: `finished`, `ended` (by its own early stopping), `diverged`, `failed`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of its evaluation in this epoch; empty if there was none."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Joining:
    """An arm that takes a seat. All fields are JSON values."""

    name: str
    experiment: Mapping[str, Any]
    """Its resolved document."""
    seat: int
    """Counted from 0."""
    epochs: int = 0
    """Epochs that it had trained before it was paused; 0: it is new."""


@dataclass(frozen=True)
class Changes:
    """Who leaves and who joins between two epochs of the pass."""

    pause: Sequence[str] = ()
    """Arms that leave their seats and may come back."""
    stop: Sequence[str] = ()
    """Arms that end here: those in seats, and those that were paused."""
    join: Sequence[Joining] = ()


class ArmSource(Protocol):
    """Decides who sits where. It lives on the first worker."""

    def advance(self, epoch: int, results: Mapping[str, ArmResult]) -> Changes:
        """The changes before the pass's `epoch`, given the results of all seats since the last call."""
        ...

    def fail(self, name: str, reason: str) -> Changes:
        """The changes after an arm that was to join could not be built."""
        ...

    def shown(self) -> Mapping[str, Any]:
        """For progress: `seated` (names), `labels` and `states` of arms that are there or have just left, `waiting`."""
        ...

    def epochs_left(self) -> int:
        """How many more epochs the pass is expected to take."""
        ...

    def state(self) -> Mapping[str, Any]:
        """All that was decided, as JSON values."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint says."""
        ...

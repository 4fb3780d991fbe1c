"""Telling whoever watches how far a run is."""

from collections.abc import Collection
from typing import Protocol

from side4video.engine.hooks import EpochInfo, StepInfo


class Narrator(Protocol):
    """A hook that also knows how long the whole is."""

    def begin(self, steps: int, first_step: int) -> None:
        """Called before the first step."""
        ...

    def after_step(self, info: StepInfo) -> None:
        """Called after each step."""
        ...

    def after_epoch(self, info: EpochInfo) -> Collection[str]:
        """Called after each epoch."""
        ...

    def end(self) -> None:
        """Called after the last step."""
        ...


class _Silent:
    def begin(self, steps: int, first_step: int) -> None:
        pass

    def after_step(self, info: StepInfo) -> None:
        pass

    def after_epoch(self, info: EpochInfo) -> Collection[str]:  # noqa: ARG002 - a protocol's names
        return ()

    def end(self) -> None:
        pass


silent: Narrator = _Silent()
"""Says nothing: for workers that nobody watches."""

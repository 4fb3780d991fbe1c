"""Telling whoever watches how far a run is."""

import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from side4video.engine.callbacks import EpochInfo, StepInfo

SMOOTHING = 0.9


class Narrator(Protocol):
    """A hook that also knows how long the whole is."""

    def begin(self, steps: int, first_step: int) -> None:
        """Called before the first step."""
        ...

    def say(self, phase: str, step: int = 0, *, steps: int = 0) -> None:
        """Called when something long begins, and along the way with how far it is, of how much."""
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


class Narration:
    """Turns steps into messages for a terminal: how far, how fast, how long still. At most two a second."""

    def __init__(self, show: Callable[[dict[str, Any]], None], *, every_seconds: float = 0.5) -> None:
        self.show, self.every_seconds = show, every_seconds
        self.steps = 0
        self._step_seconds = 0.0
        self._shown = self._said = 0.0

    def begin(self, steps: int, first_step: int) -> None:
        """Take note of the length."""
        self.steps = steps
        self.show({"phase": "training", "step": first_step, "steps": steps})

    def say(self, phase: str, step: int = 0, *, steps: int = 0) -> None:
        """Show the name of what begins, and how far it is."""
        now = time.monotonic()
        if 0 < step < steps and now - self._said < self.every_seconds:
            return
        self._said = now
        self.show({"phase": phase, "step": step, "steps": steps} if steps else {"phase": phase})

    def after_step(self, info: StepInfo) -> None:
        """Show the step, its loss, the rate and the time left."""
        spent = sum(info.seconds.values())
        before = self._step_seconds or spent
        self._step_seconds = SMOOTHING * before + (1 - SMOOTHING) * spent
        now = time.monotonic()
        if now - self._shown < self.every_seconds and info.step + 1 < self.steps:
            return
        self._shown = now
        self.show(
            {
                "phase": "training",
                "step": info.step + 1,
                "steps": self.steps,
                "epoch": info.epoch,
                "steps_per_second": 1.0 / self._step_seconds if self._step_seconds else 0.0,
                "seconds_left": (self.steps - info.step - 1) * self._step_seconds,
                "losses": info.losses,
            }
        )

    def after_epoch(self, info: EpochInfo) -> Collection[str]:
        """Show the metrics of the epoch; the listener that evaluates stands before this one."""
        if info.metrics:
            self.show({"phase": "evaluated", "epoch": info.epoch, "metrics": info.metrics})
        return ()

    def end(self) -> None:
        """Say that it is over."""
        self.show({"phase": "done", "step": self.steps, "steps": self.steps})


class _Silent:
    def begin(self, steps: int, first_step: int) -> None:
        pass

    def say(self, phase: str, step: int = 0, *, steps: int = 0) -> None:
        pass

    def after_step(self, info: StepInfo) -> None:
        pass

    def after_epoch(self, info: EpochInfo) -> Collection[str]:  # noqa: ARG002 - a protocol's names
        return ()

    def end(self) -> None:
        pass


silent: Narrator = _Silent()
"""Says nothing: for workers that nobody watches."""

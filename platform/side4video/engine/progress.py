"""Training steps as progress reports: steps done, steps per second, time left."""

import time
from collections.abc import Iterator
from typing import Any, Protocol

from side4video.core.progress import SILENT, Progress
from side4video.engine.callbacks import Callback, EpochInfo, StepInfo
from side4video.engine.pack import Batch, EvaluationBatches

SMOOTHING = 0.9
"""Decay of the moving average of a step's seconds."""


class TrainingProgress(Progress, Callback, Protocol):
    """A `Progress` that is also a callback of the training loop."""

    def begin(self, steps: int, first_step: int) -> None:
        """Called before the first step."""
        ...

    def end(self) -> None:
        """Called after the last step."""
        ...


class CountedBatches:
    """Evaluation batches, which report how many views are done of how many."""

    def __init__(self, stream: EvaluationBatches, views: int, progress: Progress) -> None:
        self._stream, self._views, self._progress = stream, views, progress

    def batches(self) -> Iterator[Batch]:
        """See `EvaluationBatches`."""
        done = 0
        for batch in self._stream.batches():
            self._progress.report("evaluating, views", done, self._views)
            yield batch
            done += len(batch)
        self._progress.report("evaluating, views", done, self._views)


class StepProgress:
    """Reports steps with their loss, rate and time left, at most every `every_seconds`."""

    def __init__(self, progress: Progress, *, every_seconds: float = 0.5) -> None:
        self.progress, self.every_seconds = progress, every_seconds
        self.steps = 0
        self._step_seconds = 0.0
        self._last_step_at = self._last_report_at = 0.0

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Pass a report on. The first and last of a phase always pass, others at most every `every_seconds`."""
        now = time.monotonic()
        if 0 < done < total and now - self._last_report_at < self.every_seconds:
            return
        self._last_report_at = now
        self.progress.report(phase, done, total, **details)

    def begin(self, steps: int, first_step: int) -> None:
        """See `TrainingProgress`."""
        self.steps = steps
        self.progress.report("training", first_step, steps)

    def after_step(self, info: StepInfo) -> None:
        """See `TrainingProgress`."""
        spent = sum(info.seconds.values())
        before = self._step_seconds or spent
        self._step_seconds = SMOOTHING * before + (1 - SMOOTHING) * spent
        now = time.monotonic()
        if now - self._last_step_at < self.every_seconds and info.step + 1 < self.steps:
            return
        self._last_step_at = now
        self.progress.report(
            "training",
            info.step + 1,
            self.steps,
            epoch=info.epoch,
            steps_per_second=1.0 / self._step_seconds if self._step_seconds else 0.0,
            seconds_left=(self.steps - info.step - 1) * self._step_seconds,
            losses=info.losses,
        )

    def after_epoch(self, info: EpochInfo) -> None:
        """Report the metrics of the epoch; the callback that evaluates runs before this one."""
        if info.metrics:
            self.progress.report("evaluated", epoch=info.epoch, metrics=info.metrics)

    def end(self) -> None:
        """See `TrainingProgress`."""
        self.progress.report("done", self.steps, self.steps)


NO_PROGRESS: TrainingProgress = StepProgress(SILENT)
"""Discards all reports."""

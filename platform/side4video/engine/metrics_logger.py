"""Averages training steps into logged metrics: losses over all workers, times and system load of the first worker."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from side4video.core.metric import Metric
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step_totals import StepTotals
from side4video.engine.system_metrics import SystemMetrics


class MetricsLogger:
    """A callback that averages every `every_steps` steps (a window) into one value of each metric."""

    def __init__(self, process: ProcessGroup, *, every_steps: int) -> None:
        self.process, self.every_steps = process, every_steps
        self._window: list[StepInfo] = []
        self._windows: list[list[StepInfo]] = []
        self._system_metrics = SystemMetrics(process.device)
        self._loads: list[dict[str, float]] = []
        self.totals = StepTotals()
        """Over all steps of the run, also those before it was resumed."""
        self._is_first_step = True

    def after_step(self, info: StepInfo) -> None:
        """Add a step."""
        self._window.append(info)
        if len(self._window) == self.every_steps:
            self._close_window()
        if not self._is_first_step:
            self.totals.add(info)
        self._is_first_step = False

    def after_epoch(self, info: EpochInfo) -> None:  # noqa: ARG002 - a protocol's names
        """Close the window, which may be shorter at the end of an epoch."""
        self._close_window()

    def _close_window(self) -> None:
        if self._window:
            self._windows.append(self._window)
            self._loads.append(self._system_metrics.sample())
            self._window = []

    def take(self, name: str, *, offset: int = 0, offset_epochs: int = 0) -> list[Metric]:
        """The metrics of one student since `clear`. Collective, because losses are averaged over workers.

        Steps and epochs are those of its own clock: the offset (`Student.offset`) is taken off.
        """
        loads = zip(self._windows, self._loads, strict=True)
        complete = [(window, load) for window, load in loads if all(name in info.losses for info in window)]
        local = [(float(np.mean([info.losses[name] for info in window])), window[-1].share) for window, _ in complete]
        losses = [_mean_loss(workers) for workers in zip(*self.process.gather(local), strict=True)] if complete else []
        metrics: list[Metric] = []
        for (window, load), loss in zip(complete, losses, strict=True):
            last = window[-1]
            step = last.step - offset
            metrics += [
                Metric.now("train/loss", loss, step),
                Metric.now("train/learning_rate", last.learning_rates[name], step),
                Metric.now("train/gradient_norm", float(np.mean([i.gradient_norms[name] for i in window])), step),
                Metric.now("train/epoch", last.epoch - offset_epochs, step),
                *_times(window, name, step),
                *(Metric.now(key, value, step) for key, value in load.items()),
            ]
        return metrics

    def clear(self) -> None:
        """Discard the closed windows."""
        self._windows, self._loads = [], []

    def gather_open_window(self) -> list[list[dict[str, Any]]]:
        """The steps of the open window as JSON values, of each worker by rank. Collective."""
        return self.process.gather([asdict(info) for info in self._window])

    def restore(self, windows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Restore the open window from `gather_open_window`. With another number of workers, each gets the mean."""
        if len(windows) == self.process.world:
            self._window = [StepInfo(**info) for info in windows[self.process.rank]]
            return
        self._window = [_mean_step(infos, self.process.world) for infos in zip(*windows, strict=True)]


def _mean_step(infos: Sequence[Mapping[str, Any]], world: int) -> StepInfo:
    """Merge one step of all workers into the step of one of `world` workers; the seconds are the first worker's."""
    losses = {
        name: _mean_loss([(info["losses"][name], info["share"]) for info in infos]) for name in infos[0]["losses"]
    }
    return StepInfo(**{**infos[0], "losses": losses, "share": 1 / world})


def _mean_loss(workers: Sequence[tuple[float, float]]) -> float:
    """The mean of (loss, share of the clips) of each worker, weighted by the shares."""
    losses, shares = zip(*workers, strict=True)
    return float(np.average(losses, weights=shares))


def _times(window: list[StepInfo], name: str, step: int) -> list[Metric]:
    phases = sorted({phase for info in window for phase in info.seconds})
    means = {phase: float(np.mean([info.seconds.get(phase, 0.0) for info in window])) for phase in phases}
    total = sum(means.values())
    clips = float(np.mean([info.clips for info in window]))
    own = [info.own_seconds[name] for info in window if name in info.own_seconds]
    return [
        *([Metric.now("time/own_step_s", float(np.mean(own)), step)] if own else []),
        Metric.now("time/step_s", total, step),
        *(Metric.now(f"time/{phase}_s", value, step) for phase, value in means.items()),
        Metric.now("time/clips_per_s", clips / total if total else float("nan"), step),
    ]

"""Averages training steps into logged metrics."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
import numpy as np
from safetensors import SafetensorError
from side4video.core.metric import Metric
from side4video.core.units import as_gib
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.checkpoint import cannot_write, save_checkpoint, save_tensors
from side4video.engine.evaluate import Evaluation
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student
from side4video.engine.system_metrics import SystemMetrics


class MetricsLogger:
    """Averages steps into points; losses over workers, times and the machine's load as the first worker saw them."""

    def __init__(self, process: ProcessGroup, *, every_steps: int) -> None:
        self.process, self.every_steps = process, every_steps
        self._window: list[StepInfo] = []
        self._windows: list[list[StepInfo]] = []
        self._machine = SystemMetrics(process.device)
        self._loads: list[dict[str, float]] = []
        self._seconds: dict[str, float] = {}
        self._student_seconds: dict[str, list[float]] = {}
        self._alone_seconds: dict[str, list[float]] = {}
        self._clips = 0
        self._steps = 0

    def after_step(self, info: StepInfo) -> None:
        """Take a step in; the first of the run is left out of the totals, it warms things up."""
        self._window.append(info)
        if len(self._window) == self.every_steps:
            self._close_window()
        if self._steps:
            self._clips += info.clips
            for phase, spent in info.seconds.items():
                self._seconds[phase] = self._seconds.get(phase, 0.0) + spent
            shared = sum(info.seconds.values()) - sum(info.own_seconds.values())
            for name, spent in info.own_seconds.items():
                self._student_seconds.setdefault(name, []).append(spent)
                self._alone_seconds.setdefault(name, []).append(shared + spent)
        self._steps += 1

    def after_epoch(self, info: EpochInfo) -> Collection[str]:  # noqa: ARG002 - a protocol's names
        """Close the running average; the listener after this one takes it."""
        self._close_window()
        return ()

    def _close_window(self) -> None:
        if self._window:
            self._windows.append(self._window)
            self._loads.append(self._machine.sample())
            self._window = []

    def take(self, name: str) -> list[Metric]:
        """The points of one student since `clear`; every worker must call it, for the losses are averaged over them."""
        loads = zip(self._windows, self._loads, strict=True)
        complete = [(window, load) for window, load in loads if all(name in info.losses for info in window)]
        local = [(float(np.mean([info.losses[name] for info in window])), window[-1].share) for window, _ in complete]
        losses = [_mean_loss(workers) for workers in zip(*self.process.gather(local), strict=True)] if complete else []
        metrics: list[Metric] = []
        for (window, load), loss in zip(complete, losses, strict=True):
            last = window[-1]
            metrics += [
                Metric.now("train/loss", loss, last.step),
                Metric.now("train/learning_rate", last.learning_rates[name], last.step),
                Metric.now("train/gradient_norm", float(np.mean([i.gradient_norms[name] for i in window])), last.step),
                Metric.now("train/epoch", last.epoch, last.step),
                *_times(window, name),
                *(Metric.now(key, value, last.step) for key, value in load.items()),
            ]
        return metrics

    def clear(self) -> None:
        """Forget what was taken."""
        self._windows, self._loads = [], []

    def gather_open_window(self) -> list[list[dict[str, Any]]]:
        """Steps that are no point yet, of each worker by rank; every worker must call it."""
        return self.process.gather([asdict(info) for info in self._window])

    def restore(self, windows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Go on with the steps that `gather_open_window` gave; another number of workers shares their means."""
        if len(windows) == self.process.world:
            self._window = [StepInfo(**info) for info in windows[self.process.rank]]
            return
        self._window = [_mean_step(infos, self.process.world) for infos in zip(*windows, strict=True)]

    def totals(self) -> dict[str, float]:
        """Means over all steps but the first: `step_s`, its parts, `clips_per_s`; and the share of waiting for data."""
        steps, whole = max(1, self._steps - 1), sum(self._seconds.values())
        parts = {f"{phase}_s": spent / steps for phase, spent in sorted(self._seconds.items())}
        rate = self._clips / whole if whole else float("nan")
        wait = self._seconds.get("data_wait", 0.0) / whole if whole else float("nan")
        return {"step_s": whole / steps, **parts, "clips_per_s": rate, "data_wait_fraction": wait}

    def student_totals(self, name: str) -> dict[str, float]:
        """Means over a student's steps: `own_step_s`, spent on it alone, and `alone_step_s`, with all that it shares.

        The second is what a step would take if the student trained alone, were its tower as deep as the pack's.
        """
        own, alone = self._student_seconds.get(name, []), self._alone_seconds.get(name, [])
        if not own:
            return {}
        return {"own_step_s": float(np.mean(own)), "alone_step_s": float(np.mean(alone))}


def _mean_step(infos: Sequence[Mapping[str, Any]], world: int) -> StepInfo:
    """One step of all workers as one of `world` workers would have it; seconds are the first worker's."""
    losses = {
        name: _mean_loss([(info["losses"][name], info["share"]) for info in infos]) for name in infos[0]["losses"]
    }
    return StepInfo(**{**infos[0], "losses": losses, "share": 1 / world})


def _mean_loss(workers: Sequence[tuple[float, float]]) -> float:
    """The mean over all workers' clips of what each has found, and its share of the clips."""
    losses, shares = zip(*workers, strict=True)
    return float(np.average(losses, weights=shares))


def _times(window: list[StepInfo], name: str) -> list[Metric]:
    step = window[-1].step
    phases = sorted({phase for info in window for phase in info.seconds})
    means = {phase: float(np.mean([info.seconds.get(phase, 0.0) for info in window])) for phase in phases}
    whole = sum(means.values())
    clips = float(np.mean([info.clips for info in window]))
    own = [info.own_seconds[name] for info in window if name in info.own_seconds]
    return [
        *([Metric.now("time/own_step_s", float(np.mean(own)), step)] if own else []),
        Metric.now("time/step_s", whole, step),
        *(Metric.now(f"time/{phase}_s", value, step) for phase, value in means.items()),
        Metric.now("time/clips_per_s", clips / whole if whole else float("nan"), step),
    ]


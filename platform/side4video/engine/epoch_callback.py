"""What leaves a run: points along the way, and at the end of an epoch metrics, predictions and a checkpoint."""

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
from side4video.engine.metrics_logger import MetricsLogger

BEST, LAST_AVERAGE = "best.safetensors", "last_average.safetensors"
OWN = frozenset({"weights.safetensors", "average.safetensors", "optimizer.safetensors", "student.json"})
"""What a checkpoint holds of a student; everything else in its folder is of the last evaluation, or the best one."""

PENDING_REPORTS = 3
"""Reports whose points a checkpoint repeats: so many may be unread when the process that stores them dies."""

EarlyStopper = Callable[[int, Mapping[str, Mapping[str, float]]], Collection[str]]
"""Hears of an epoch and what was measured at its end, by student; says whom to stop. The first worker asks it."""


def never_stop(epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> Collection[str]:  # noqa: ARG001
    """The judge of an ordinary run."""
    return ()


@dataclass(frozen=True)
class Report:
    """The end of an epoch, or a pause within one, as it leaves the run."""

    epoch: int
    next_step: int
    is_last: bool
    metrics: dict[str, list[Metric]]
    """By student."""
    latest: dict[str, dict[str, float]]
    """The newest evaluation of each student."""
    checkpoint: Path | None
    """A complete checkpoint on the first worker, None on the others."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know of how the run went: interruptions, and what followed from them."""










@dataclass
class EpochCallback:
    """Evaluates, keeps the best, writes the checkpoint, reports: in this order, at the end of each epoch."""

    pack: Pack
    metrics_logger: MetricsLogger
    evaluate: Callable[[list[Student]], dict[str, Evaluation]]
    every_epochs: int
    identity: Mapping[str, Any]
    scratch: Path
    report: Callable[[Report], None]
    constants: Mapping[str, Mapping[str, float]]
    broken: Callable[[], list[dict[str, Any]]]
    early_stopper: EarlyStopper = never_stop
    latest: dict[str, dict[str, float]] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    """Those that any worker met, each once."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Every evaluation: `epoch`, and `metrics` by student."""
    steps_trained: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each student until the last epoch that it trained in."""
    notes: list[str] = field(default_factory=list)
    """See `Report.notes`."""
    _recent: list[dict[str, list[Metric]]] = field(default_factory=list)
    """The points of the last reports."""

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint: its metrics, and the best weights and predictions that lie in it.

        The judge hears of every evaluation again: it may be new. Whom it stopped then, the checkpoint says itself.
        """
        names = {student.name for student in self.pack.students}
        self.latest = {name: each for name, each in state["latest"].items() if name in names}
        self.best = {name: each for name, each in state["best"].items() if name in names}
        self.broken_clips = list(state["broken_clips"])
        self.notes = [*state.get("notes", ()), *self.notes]
        self.metrics_logger.restore(state.get("windows", ()))
        self.steps_trained = {name: steps for name, steps in state["steps_trained"].items() if name in names}
        for entry in state["history"]:
            told = {name: each for name, each in entry["metrics"].items() if name in names}
            self.history.append({"epoch": entry["epoch"], "metrics": told})
            if self.metrics_logger.process.is_first:
                self.early_stopper(entry["epoch"], told)
        for name in self.best:
            place = self.scratch / "kept" / name
            place.mkdir(parents=True, exist_ok=True)
            for file in (folder / name).iterdir():
                if file.name not in OWN:
                    shutil.copyfile(file, place / file.name)

    def report_recent(self, state: Mapping[str, Any]) -> None:
        """Report what may have been lost on its way after the checkpoint was written: what is stored stays as it is.

        Collective: every worker reports.
        """
        names = {student.name for student in self.pack.students}
        for metrics in state.get("recent", ()):
            known = {name: [Metric(*each) for each in series] for name, series in metrics.items() if name in names}
            self._recent.append(known)
        metrics = {name: [each for known in self._recent for each in known.get(name, ())] for name in sorted(names)}
        step, notes = int(state["next_step"]), tuple(self.notes)
        self.report(Report(int(state["epoch"]), step, False, metrics, dict(self.latest), None, notes))

    def after_step(self, info: StepInfo) -> None:
        """Nothing."""

    def pause(self, info: EpochInfo, *, is_open: bool) -> None:
        """Write a checkpoint between two steps, and report it; collective.

        Args:
            info: Where the run is.
            is_open: Whether all steps of the epoch are done, and its end is not.

        Raises:
            CheckpointError: If it cannot be written.
        """
        metrics = {student.name: self.metrics_logger.take(student.name) for student in self.pack.students}
        self._send(info, metrics, {}, is_open=is_open)

    def after_epoch(self, info: EpochInfo) -> Collection[str]:
        """The whole end of an epoch; collective, so every worker is here.

        Raises:
            CheckpointError: If the checkpoint cannot be written.
        """
        metrics = {student.name: self.metrics_logger.take(student.name) for student in self.pack.students}
        self.steps_trained |= {student.name: info.next_step for student in self.pack.active_students}
        evaluations: dict[str, Evaluation] = {}
        if info.is_last or (info.epoch + 1) % self.every_epochs == 0:
            active_students = self.pack.active_students
            evaluations = self.evaluate(active_students) if active_students else {}
        for name, evaluation in evaluations.items():
            metrics[name] += self._rate(name, evaluation, info)
            info.add(name, {**evaluation.metrics, "loss": evaluation.loss})
        if evaluations:
            self._stop(info.epoch, {name: self.latest[name] for name in evaluations})
        self._send(info, metrics, evaluations)
        return ()

    def _send(
        self,
        info: EpochInfo,
        metrics: dict[str, list[Metric]],
        evaluations: Mapping[str, Evaluation],
        *,
        is_open: bool = False,
    ) -> None:
        process = self.metrics_logger.process
        met = [row for rows in process.gather(self.broken()) for row in rows]
        self.broken_clips = list({(row["origin"], row["path"]): row for row in (*self.broken_clips, *met)}.values())
        recent = [*self._recent, metrics][-PENDING_REPORTS:]
        position = {"is_open": is_open, "windows": self.metrics_logger.gather_open_window(), "recent": recent}
        written: list[Path] = []

        def write() -> None:
            if process.is_first:
                written.append(self._write(evaluations, info, position))

        process.run_on_all_workers(write)
        checkpoint, notes = (written[0] if written else None), tuple(self.notes)
        self.report(Report(info.epoch, info.next_step, info.is_last, metrics, dict(self.latest), checkpoint, notes))
        self._recent = recent
        self.metrics_logger.clear()
        process.barrier()

    def _stop(self, epoch: int, metrics: dict[str, dict[str, float]]) -> None:
        """Let the judge say who is to stop; the checkpoint that follows has them stopped."""
        self.history.append({"epoch": epoch, "metrics": metrics})
        process = self.metrics_logger.process
        names = process.gather(sorted(self.early_stopper(epoch, metrics)) if process.is_first else [])[0]
        for student in self.pack.active_students:
            if student.name in names:
                student.stop()

    def _rate(self, name: str, evaluation: Evaluation, info: EpochInfo) -> list[Metric]:
        measured = {f"eval/{key}": value for key, value in evaluation.metrics.items()}
        measured |= {"eval/loss": evaluation.loss, "eval/videos": float(evaluation.videos)}
        measured |= {"eval/views": float(evaluation.views), "eval/epoch": float(info.epoch)}
        measured |= {f"eval/{view.name}/top1": view.top1 for view in evaluation.per_view}
        student = next(student for student in self.pack.students if student.name == name)
        main_metric = student.task.main_metric
        value = evaluation.metrics[main_metric.name]
        if name not in self.best or main_metric.is_better(value, than=self.best[name][f"best/{main_metric.name}"]):
            self.best[name] = {f"best/{key}": value for key, value in evaluation.metrics.items()}
            self.best[name]["best/epoch"] = float(info.epoch)
        measured |= {f"memory/{key}_gib": as_gib(value) for key, value in student.memory_metrics().items()}
        measured |= self.best[name] | dict(self.constants[name])
        self.latest[name] = measured
        return [Metric.now(key, value, info.next_step - 1) for key, value in measured.items()]

    def _write(self, evaluations: Mapping[str, Evaluation], info: EpochInfo, position: Mapping[str, Any]) -> Path:
        """The checkpoint; the best weights so far lie in the scratch folder between epochs."""
        try:
            self._keep_best(evaluations, info)
        except (OSError, SafetensorError) as error:
            raise cannot_write(self.scratch, error) from error
        students = {student.name: student for student in self.pack.students}
        state = {
            **position,
            "next_step": info.next_step,
            "epoch": info.epoch,
            "is_last": info.is_last,
            "identity": dict(self.identity),
            "latest": self.latest,
            "best": self.best,
            "history": self.history,
            "steps_trained": self.steps_trained,
            "broken_clips": self.broken_clips,
            "notes": self.notes,
        }
        return save_checkpoint(self.scratch / "checkpoint", students, state, beside=self.scratch / "kept")

    def _keep_best(self, evaluations: Mapping[str, Evaluation], info: EpochInfo) -> None:
        students = {student.name: student for student in self.pack.students}
        for name, evaluation in evaluations.items():
            place = self.scratch / "kept" / name
            place.mkdir(parents=True, exist_ok=True)
            evaluation.write(place)
            if students[name].average is not None:
                save_tensors(students[name].evaluated, place / LAST_AVERAGE)
            if self.best[name]["best/epoch"] == info.epoch:
                save_tensors(students[name].evaluated, place / BEST)

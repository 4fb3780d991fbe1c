"""The end of an epoch: evaluate, keep the best weights, write a checkpoint and report it."""

import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError

from side4video.core.metric import Metric
from side4video.core.units import as_gib
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.checkpoint import cannot_write, save_checkpoint, save_tensors
from side4video.engine.evaluate import Evaluation
from side4video.engine.final_test import FinalTest
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.pack import Pack
from side4video.engine.step_totals import StepTotals
from side4video.engine.student import Student

BEST, LAST_AVERAGE = "best.safetensors", "last_average.safetensors"
_STUDENT_FILES = frozenset({"weights.safetensors", "average.safetensors", "optimizer.safetensors", "student.json"})
"""Training state of a student in a checkpoint. All other files in its folder are from the last or best evaluation."""

PENDING_REPORTS = 3
"""A checkpoint repeats the metrics of this many reports: they may be lost if the process that stores them dies."""

EarlyStopper = Callable[[int, Mapping[str, Mapping[str, float]]], Collection[str]]
"""Takes the epoch and its metrics by student; returns the names of students to stop. Called on the first worker."""


def never_stop(epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> Collection[str]:  # noqa: ARG001
    """An early stopper that stops nothing."""
    return ()


@dataclass(frozen=True)
class Report:
    """What a run reports at the end of an epoch, or when it saves a checkpoint within one."""

    epoch: int
    next_step: int
    is_last: bool
    metrics: dict[str, list[Metric]]
    """Metrics since the last report, by student."""
    latest: dict[str, dict[str, float]]
    """The metrics of the newest evaluation, by student."""
    checkpoint: Path | None
    """A complete checkpoint on the first worker, None on the others."""
    notes: tuple[str, ...] = ()
    """Events of the run that a reader should know, such as interruptions."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Who joined the pass and who left it (`Membership.report`), as JSON values."""


class Membership(Protocol):
    """Lets students join and leave a pass between two epochs."""

    def change(self, info: EpochInfo) -> None:
        """Called at the end of an epoch, after its evaluations and before its checkpoint. Collective."""
        ...

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint keeps of it, as JSON values."""
        ...

    def report(self) -> Mapping[str, Any]:
        """Who joined and who left since the last report."""
        ...


@dataclass
class EpochCallback:
    """At the end of each epoch: evaluate, keep the best weights, write the checkpoint, report."""

    pack: Pack
    metrics_logger: MetricsLogger
    evaluate: Callable[[list[Student]], dict[str, Evaluation]]
    """On the validation split if there is one (`final_test`), otherwise on the test split."""
    every_epochs: int
    identity: Mapping[str, Any]
    scratch: Path
    report: Callable[[Report], None]
    constants: dict[str, dict[str, float]]
    broken: Callable[[], list[dict[str, Any]]]
    early_stopper: EarlyStopper = never_stop
    final_test: FinalTest | None = None
    """The evaluation on the test split at the end; None if there is no validation split."""
    membership: Membership | None = None
    """None if the students of the pack stay the same."""
    absent: set[str] = field(default_factory=set)
    """Students that are paused or have just left: not in the pack, and with metrics and best weights all the same."""
    latest: dict[str, dict[str, float]] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    """Clips that any worker could not read, without duplicates."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Every evaluation: `epoch`, and `metrics` by student."""
    steps_trained: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each student up to the last epoch it trained in."""
    notes: list[str] = field(default_factory=list)
    """See `Report.notes`."""
    seconds_before: float = 0.0
    """Of this run in processes before this one."""
    _started: float = field(default_factory=time.monotonic)
    _recent: list[dict[str, list[Metric]]] = field(default_factory=list)
    """Metrics of the last reports."""

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Restore the metrics, best weights and predictions of a checkpoint.

        The early stopper gets every past evaluation again, because it may be a new one. Its answers are ignored: the
        checkpoint has the students that were stopped.
        """
        names = {student.name for student in self.pack.students} | self.absent
        self.latest = {name: each for name, each in state["latest"].items() if name in names}
        self.best = {name: each for name, each in state["best"].items() if name in names}
        self.broken_clips = list(state["broken_clips"])
        self.notes = [*state.get("notes", ()), *self.notes]
        self.metrics_logger.restore(state.get("windows", ()))
        self.seconds_before = float(state.get("seconds", 0.0))
        if "totals" in state:
            self.metrics_logger.totals = StepTotals.from_json(state["totals"])
        self.steps_trained = {name: steps for name, steps in state["steps_trained"].items() if name in names}
        for entry in state["history"]:
            metrics = {name: each for name, each in entry["metrics"].items() if name in names}
            self.history.append({"epoch": entry["epoch"], "metrics": metrics})
            if self.metrics_logger.process.is_first:
                self.early_stopper(entry["epoch"], metrics)
        for name in self.best:
            target = self.scratch / "kept" / name
            target.mkdir(parents=True, exist_ok=True)
            for file in (folder / name).iterdir():
                if file.name not in _STUDENT_FILES:
                    shutil.copyfile(file, target / file.name)

    def report_recent(self, state: Mapping[str, Any]) -> None:
        """Report the metrics of the last reports again: they may be lost. The store ignores those it has.

        Collective: every worker reports.
        """
        names = {student.name for student in self.pack.students} | self.absent
        for reported in state.get("recent", ()):
            self._recent.append(
                {name: [Metric(*each) for each in series] for name, series in reported.items() if name in names}
            )
        metrics = {name: [each for past in self._recent for each in past.get(name, ())] for name in sorted(names)}
        step, notes = int(state["next_step"]), tuple(self.notes)
        changes = self.membership.report() if self.membership else {}
        self.report(Report(int(state["epoch"]), step, False, metrics, dict(self.latest), None, notes, changes))

    def after_step(self, info: StepInfo) -> None:
        """Do nothing: `MetricsLogger` handles steps."""

    def pause(self, info: EpochInfo, *, is_open: bool) -> None:
        """Write a checkpoint between two steps and report it. Collective.

        `is_open` says whether all steps of the epoch are done, but not yet its evaluation.

        Raises:
            CheckpointError: If it cannot be written.
        """
        self._save_and_report(info, self._take_metrics(info), is_open=is_open)

    def after_epoch(self, info: EpochInfo) -> None:
        """Do everything that the end of an epoch needs. Collective.

        Raises:
            CheckpointError: If the checkpoint cannot be written.
        """
        metrics = self._take_metrics(info)
        own = {student.name: info.own(student.offset) for student in self.pack.students}
        active_students = self.pack.active_students
        self.steps_trained |= {student.name: own[student.name].next_step for student in active_students}
        due = [student for student in active_students if self._is_due(own[student.name])]
        evaluations = self.evaluate(due) if due else {}
        for name, evaluation in evaluations.items():
            metrics[name] += self._evaluated(name, evaluation, own[name])
            info.add(name, {**evaluation.metrics, "loss": evaluation.loss})
        self._stop_without_scores({name: each for name, each in evaluations.items() if own[name].is_last})
        for epoch in sorted({own[name].epoch for name in evaluations}):
            self._stop_early(epoch, {name: self.latest[name] for name in evaluations if own[name].epoch == epoch})
        self._keep_best_everywhere(evaluations, own)
        tested = self._test(own) if self.final_test else {}
        for name, evaluation in tested.items():
            metrics[name] += self._tested(name, evaluation, own[name])
        measured = tested if self.final_test else evaluations
        self._write_evaluations(measured)
        if self.membership:
            self.membership.change(info)
        self._save_and_report(info, metrics)

    def _take_metrics(self, info: EpochInfo) -> dict[str, list[Metric]]:
        return {
            student.name: self.metrics_logger.take(
                student.name, offset=student.offset, offset_epochs=student.offset // info.steps_per_epoch
            )
            for student in self.pack.students
        }

    def _is_due(self, own: EpochInfo) -> bool:
        """Whether a student is evaluated now, on its own clock."""
        return own.is_last or (own.is_boundary and (own.epoch + 1) % self.every_epochs == 0)

    def _save_and_report(
        self,
        info: EpochInfo,
        metrics: dict[str, list[Metric]],
        *,
        is_open: bool = False,
    ) -> None:
        process = self.metrics_logger.process
        broken = [*self.broken_clips, *(row for rows in process.gather(self.broken()) for row in rows)]
        self.broken_clips = list({(row["origin"], row["path"]): row for row in broken}.values())
        recent = [*self._recent, metrics][-PENDING_REPORTS:]
        position = {"is_open": is_open, "windows": self.metrics_logger.gather_open_window(), "recent": recent}
        written: list[Path] = []

        def write() -> None:
            if process.is_first:
                written.append(self._write(info, position))

        process.run_on_all_workers(write)
        checkpoint, notes = (written[0] if written else None), tuple(self.notes)
        changes = self.membership.report() if self.membership else {}
        latest = dict(self.latest)
        self.report(Report(info.epoch, info.next_step, info.is_last, metrics, latest, checkpoint, notes, changes))
        self._recent = recent
        self.metrics_logger.clear()
        process.barrier()

    def _stop_without_scores(self, evaluations: Mapping[str, Evaluation]) -> None:
        """Stop as diverged the students whose last scores are not finite, before the checkpoint is written.

        Their accuracy is a number all the same, because a score that is no number ranks last. The loss is a mean over
        all scores, and equal on every worker.
        """
        for student in self.pack.active_students:
            if student.name in evaluations and not math.isfinite(evaluations[student.name].loss):
                student.stop("diverged")

    def _stop_early(self, epoch: int, metrics: dict[str, dict[str, float]]) -> None:
        """Stop the students that the early stopper names, before the checkpoint is written.

        One whose scores are not finite has diverged: training would not have made them finite again.
        """
        self.history.append({"epoch": epoch, "metrics": metrics})
        process = self.metrics_logger.process
        names = process.gather(sorted(self.early_stopper(epoch, metrics)) if process.is_first else [])[0]
        for student in self.pack.active_students:
            if student.name in names:
                student.stop("stopped" if math.isfinite(metrics[student.name][f"{self._area}/loss"]) else "diverged")

    def _evaluated(self, name: str, evaluation: Evaluation, info: EpochInfo) -> list[Metric]:
        """Update the best and the latest metrics of a student; returns them as values of this epoch."""
        measured = _named(self._area, evaluation, info.epoch)
        fitted = evaluation.fit() if self.final_test else {}
        measured |= {f"{self._area}/{key}": value for key, value in fitted.items()}
        student = next(student for student in self.pack.students if student.name == name)
        main_metric, best = student.task.main_metric, self._best_area
        value = evaluation.metrics[main_metric.name]
        if name not in self.best or main_metric.is_better(value, than=self.best[name][f"{best}/{main_metric.name}"]):
            self.best[name] = {f"{best}/{key}": value for key, value in {**evaluation.metrics, **fitted}.items()}
            self.best[name][f"{best}/epoch"] = float(info.epoch)
        measured |= {f"memory/{key}_gib": as_gib(value) for key, value in student.memory_metrics().items()}
        measured |= self.best[name] | dict(self.constants[name])
        self.latest[name] = measured
        return [Metric.now(key, value, info.next_step - 1) for key, value in measured.items()]

    @property
    def _area(self) -> str:
        """Where the metrics of an epoch's evaluation are logged; `eval` is the test split."""
        return "val" if self.final_test else "eval"

    @property
    def _best_area(self) -> str:
        return "best_val" if self.final_test else "best"

    def _test(self, own: Mapping[str, EpochInfo]) -> dict[str, Evaluation]:
        """Evaluate on the test split the students that end now: all in the last epoch, others by early stopping."""
        assert self.final_test  # noqa: S101
        ending = []
        for student in self.pack.active_students:
            key = f"{self._area}/{student.task.main_metric.name}"
            values = [entry["metrics"][student.name][key] for entry in self._history_of(student.name)]
            if own[student.name].is_last or self.final_test.ends(student, values):
                ending.append(student)
        if not ending:
            return {}
        chosen = [student for student in ending if self._takes_earlier_epoch(student, own[student.name])]
        stored = {student.name: self.scratch / "kept" / student.name / BEST for student in chosen}
        tested = self.final_test.run(ending, stored)
        for student in ending:
            if not own[student.name].is_last:
                student.stop("ended")
        return tested

    def _history_of(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.history if name in entry["metrics"]]

    def _takes_earlier_epoch(self, student: Student, info: EpochInfo) -> bool:
        assert self.final_test  # noqa: S101
        return self.final_test.takes_best and self._best_epoch(student.name) != info.epoch

    def _best_epoch(self, name: str) -> int:
        return int(self.best[name][f"{self._best_area}/epoch"])

    def _tested(self, name: str, evaluation: Evaluation, info: EpochInfo) -> list[Metric]:
        """Add the metrics of the test split to the latest ones; returns them as values of this epoch."""
        takes_best = self.final_test is not None and self.final_test.takes_best
        measured = _named("eval", evaluation, self._best_epoch(name) if takes_best else info.epoch)
        area, metrics = (self._best_area, self.best[name]) if takes_best else (self._area, self.latest[name])
        validation = {key.removeprefix(f"{area}/"): value for key, value in metrics.items() if key.startswith(area)}
        measured |= {f"eval/{key}": value for key, value in evaluation.fitted_metrics(validation).items()}
        self.latest[name] = {**self.latest[name], **measured}
        return [Metric.now(key, value, info.next_step - 1) for key, value in measured.items()]

    def _keep_best_everywhere(self, evaluations: Mapping[str, Evaluation], own: Mapping[str, EpochInfo]) -> None:
        """Write the best weights so far. Collective."""

        def keep() -> None:
            try:
                if self.metrics_logger.process.is_first:
                    self._keep_best(evaluations, own)
            except (OSError, SafetensorError) as error:
                raise cannot_write(self.scratch, error) from error

        self.metrics_logger.process.run_on_all_workers(keep)

    def _write_evaluations(self, evaluations: Mapping[str, Evaluation]) -> None:
        """Write predictions and the like beside the best weights. Collective."""

        def write() -> None:
            try:
                for name, evaluation in evaluations.items() if self.metrics_logger.process.is_first else ():
                    evaluation.write(self.scratch / "kept" / name)
            except OSError as error:
                raise cannot_write(self.scratch, error) from error

        self.metrics_logger.process.run_on_all_workers(write)

    def _write(self, info: EpochInfo, position: Mapping[str, Any]) -> Path:
        """Write the checkpoint, with the best weights so far, which the scratch folder keeps between epochs."""
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
            **({"members": self.membership.state()} if self.membership else {}),
            "totals": self.metrics_logger.totals.as_json(),
            "seconds": self.seconds_before + time.monotonic() - self._started,
        }
        return save_checkpoint(self.scratch / "checkpoint", students, state, beside=self.scratch / "kept")

    def _keep_best(self, evaluations: Mapping[str, Evaluation], own: Mapping[str, EpochInfo]) -> None:
        students = {student.name: student for student in self.pack.students}
        for name in evaluations:
            folder = self.scratch / "kept" / name
            folder.mkdir(parents=True, exist_ok=True)
            if students[name].average is not None:
                save_tensors(students[name].evaluated, folder / LAST_AVERAGE)
            if self._best_epoch(name) == own[name].epoch:
                save_tensors(students[name].evaluated, folder / BEST)


def _named(area: str, evaluation: Evaluation, epoch: int) -> dict[str, float]:
    """The metrics of an evaluation under their names, with the epoch whose weights were evaluated."""
    measured = {f"{area}/{key}": value for key, value in evaluation.metrics.items()}
    measured |= {f"{area}/loss": evaluation.loss, f"{area}/videos": float(evaluation.videos)}
    measured |= {f"{area}/views": float(evaluation.views), f"{area}/epoch": float(epoch)}
    return measured | {f"{area}/{view.name}/top1": view.top1 for view in evaluation.per_view}

"""Runs experiments: plan, create the runs in the store, train, store the results."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.main_guard import check_main_guard, script_without_guard
from side4video.core.paths import absolute_path
from side4video.core.progress import Progress
from side4video.data.listing_once import listing_once
from side4video.runs.checkpoint_folders import kept_text, moved_folder, storage_root
from side4video.runs.run_result import RunResult, stored_result, stored_seconds
from side4video.runs.shown_metrics import ShownMetrics
from side4video.runs.stop_signal import StopSignalProgress, is_interruption
from side4video.runs.trainer import LocalTrainer, Trainer
from side4video.spec.chance import always_reached_in_epochs
from side4video.spec.check import check_consistency
from side4video.spec.check_videos import check_experiments
from side4video.spec.check_weights import check_weights
from side4video.spec.experiment import Experiment
from side4video.tracking.finished_runs import finished_runs
from side4video.tracking.pack_logger import PackLogger, find_unfinished, open_pack_logger
from side4video.tracking.run_holder import hold_experiment, hold_folder, renewing_tag, wait_for_other_machine
from side4video.tracking.run_inputs import changed_inputs
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.stores import open_store
from side4video.tracking.tags import CHECKPOINTS_TAG, KEY_TAG

Mode = Literal["new", "resume", "go on"]
"""`new` starts a run. `resume` continues the newest unfinished one. `go on` does so if there is one; else it gives the
result of the finished run of the experiment, or starts a run."""


def launch(
    experiments: Mapping[str, Experiment],
    *,
    progress: Progress,
    trainer: Trainer | None = None,
    resume: bool = False,
    go_on: bool = False,
) -> dict[str, RunResult]:
    """Run experiments to their end as one pack; an ordinary run is a pack of one.

    `experiments` are by student name; they agree on backbone, data, batches and workers. By default they train in this
    process. `resume` and `go_on` are of the first experiment, see `Mode`.

    Raises:
        InputError: If the specs, the data or the cluster do not fit, or another command works on the same run.
        Side4VideoError: If the training failed.
    """
    check_main_guard()
    check_consistency(experiments)
    decodes_here = trainer is None or isinstance(trainer, LocalTrainer)
    base = next(iter(experiments.values()))
    if decodes_here and base.data.loader.workers and (unguarded := script_without_guard()):
        raise unguarded
    mode: Mode = "go on" if go_on else "resume" if resume else "new"
    with listing_once(), signals.handling_signals(), trainer or LocalTrainer() as active_trainer:
        return _Launch(experiments, mode, StopSignalProgress(progress), active_trainer).run()


@dataclass
class _Launch:
    """One call of `launch`."""

    experiments: Mapping[str, Experiment]
    mode: Mode
    progress: Progress
    trainer: Trainer

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        self.base = next(iter(self.experiments.values()))
        self.names = dict(zip(self.experiments, self.experiments, strict=True))
        """The names of the students in checkpoints, by the caller's."""
        self.key = ""

    def run(self) -> dict[str, RunResult]:
        if self.mode == "new":
            self._check_weights()
        store = open_store(self.base.tracking).prepare()
        with ExitStack() as held:
            if self.mode != "new":
                held.enter_context(
                    hold_experiment(store, self.base.digest(ignore_workers=True, spell=absolute_path), self.base.name)
                )
            unfinished = self._find_unfinished(store)
            folder = self._checkpoint_folder(unfinished)
            if unfinished:
                held.enter_context(hold_folder(folder, f"run {unfinished.run_id[:8]} ({unfinished.name})"))
                wait_for_other_machine(store, unfinished)
            fingerprint = self._prepare_data()
            if unfinished:
                _refuse_other_inputs(unfinished, self.base, fingerprint)
            finished = finished_runs(store, list(self.experiments.values()), fingerprint=fingerprint)
            if self.mode == "go on" and not unfinished and (run := finished.get(self.base.digest())):
                note = f"run {run.run_id[:8]} of this experiment is finished; nothing was trained"
                return {name: _with_notes(stored_result(store, run), note) for name in self.experiments}
            notes = [] if unfinished else _notes_about(finished.values())
            left_out = frozenset.union(*map(always_reached_in_epochs, self.experiments.values()))
            self.progress = ShownMetrics(self.progress, left_out)
            if self.mode != "new":
                self._check_weights()
            plans = self._plan()
            if not unfinished:
                held.enter_context(hold_folder(folder, f"run of {self.base.name}"))
            return self._train(folder, fingerprint, plans, resume=unfinished is not None, notes=notes)

    def _check_weights(self) -> None:
        """Look for the weights before anything starts, and before a run is recorded."""
        if self.trainer.is_on_this_machine:
            check_weights(self.experiments.values())

    def _find_unfinished(self, store: RunStore) -> StoredRun | None:
        """The run to continue; a renamed experiment continues under the name that its checkpoints have."""
        unfinished = find_unfinished(self.base) if self.mode != "new" else None
        if unfinished is None or CHECKPOINTS_TAG not in unfinished.tags:
            if self.mode == "resume":
                raise _nothing_to_resume(store, self.base)
            return None
        self.key = unfinished.tags.get(KEY_TAG, "")
        if self.key and len(self.experiments) == 1:
            self.names = {name: self.key.rpartition("/")[2] for name in self.experiments}
        return unfinished

    def _checkpoint_folder(self, unfinished: StoredRun | None) -> str:
        """The run's folder for checkpoints, `STORAGE/NAME-HASH-RUN`, or that of the run to resume."""
        root = storage_root(self.base)
        if unfinished:
            return moved_folder(unfinished.tags[CHECKPOINTS_TAG], root)
        return f"{root}/{self.base.name}-{self.base.digest()[:8]}-{uuid.uuid4().hex[:8]}"

    def _prepare_data(self) -> str:
        """Check files and prepare the data; returns its fingerprint."""
        check_experiments(
            [(name if len(self.experiments) > 1 else "", spec) for name, spec in self.experiments.items()]
        )
        dataset = self.base.data.dataset  # whole: experiments of a pack may name selections of their own
        self.progress.report("preparing the data")
        dataset.prepare(lambda done, total: self.progress.report("preparing the data", done, total))
        return dataset.fingerprint()

    def _plan(self) -> dict[str, dict[str, Any]]:
        """Plan each experiment. The trainer starts in the background during planning."""
        self.progress.report("planning")
        self.trainer.start()
        from side4video.planning.feature_cache import count_clips
        from side4video.planning.plan import plan_experiment

        classes = len(self.base.data.listed.classes())
        return {
            name: plan_experiment(spec, classes=classes, clips=count_clips(spec.data)).as_json()
            for name, spec in self.experiments.items()
        }

    def _train(
        self,
        folder: str,
        fingerprint: str,
        plans: Mapping[str, dict[str, Any]],
        *,
        resume: bool,
        notes: list[str],
    ) -> dict[str, RunResult]:
        self.progress.report("creating the run")
        students = {self.names[name]: spec for name, spec in self.experiments.items()}
        pack_logger = open_pack_logger(
            students,
            plans={self.names[name]: plan for name, plan in plans.items()},
            fingerprint=fingerprint,
            checkpoint_folder=folder,
            resume=resume,
            key=self.key,
        )
        with renewing_tag(pack_logger.store, pack_logger.run_ids), failing(pack_logger):
            try:
                results, checkpoint = self.trainer.train(
                    students, pack_logger, checkpoint_folder=folder, progress=self.progress
                )
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(kept_text(folder)) from stop
            self.progress.report("storing the results")
            noted = {
                name: {**result, "notes": pack_logger.close(name, result, checkpoint)}
                for name, result in results.items()
            }
        seconds = time.perf_counter() - self.started
        finished = {}
        for name, spec in self.experiments.items():
            run_id, result = pack_logger.run_ids[self.names[name]], noted[self.names[name]]
            took = stored_seconds(pack_logger.store, run_id, default=seconds)
            finished[name] = _with_notes(_result(result, run_id, spec.name, plans[name], took), *notes)
        return finished


def _result(result: Mapping[str, Any], run_id: str, name: str, plan: dict[str, Any], seconds: float) -> RunResult:
    left_out = ("backbone_fingerprint", "steps", "steps_trained")
    kept = {key: value for key, value in result.items() if key not in left_out}
    return RunResult(run_id=run_id, name=name, plan=plan, wall_s=seconds, **kept)


def _with_notes(result: RunResult, *notes: str) -> RunResult:
    return replace(result, notes=[*result.notes, *notes]) if notes else result


def _notes_about(finished: Any) -> list[str]:
    return [
        f"run {run.run_id[:8]} of this experiment was finished before; this is another one. "
        "With --go-on, the command shows the finished run"
        for run in finished
    ]


def _nothing_to_resume(store: RunStore, spec: Experiment) -> InputError:
    found = f"no unfinished run of {spec.name} with exactly this spec"
    finished = finished_runs(store, [spec], fingerprint="").get(spec.digest())
    if finished is None:
        return InputError("--resume", found + _changed_plugins(store, spec), fix="run it without --resume")
    return InputError(
        "--resume",
        f"{found}; run {finished.run_id[:8]} of it is finished",
        fix=f"see its result: side4video evaluate {finished.run_id[:8]}; or run it again without --resume",
    )


def _changed_plugins(store: RunStore, spec: Experiment) -> str:
    """That the newest run of the name began with other sources of plug-ins; else nothing."""
    for run in store.runs(name=spec.name, limit=1) if spec.plugins else ():
        began_with = {each["sha256"] for each in json.loads(run.params.get("plugins", "[]"))}
        changed = [each.source for each in spec.plugins if each.sha256 not in began_with]
        if changed:
            return f"; {', '.join(changed)} was changed since run {run.run_id[:8]} began"
    return ""


@contextmanager
def failing(pack_logger: PackLogger) -> Iterator[None]:
    """Log that runs failed or were interrupted if the block raises an error."""
    try:
        yield
    except BaseException as error:
        pack_logger.fail(str(error) or type(error).__name__, killed=is_interruption(error))
        raise


def _refuse_other_inputs(unfinished: StoredRun, spec: Experiment, fingerprint: str) -> None:
    """Refuse to resume on other data or weights than the run began with: its record would name one for both.

    Raises:
        InputError: The data set or the backbone's weights changed.
    """
    if changed := changed_inputs(unfinished, spec, fingerprint):
        raise InputError(
            "--resume",
            changed,
            allowed="the same clips, labels, captions and classes in the same order, and the same weights",
            fix="bring them back, or run it without --resume as a new run",
        )

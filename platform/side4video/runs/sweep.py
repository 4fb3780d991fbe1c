"""Runs a sweep: find finished arms, plan packs of the others, train and log them."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from side4video.arm_search.quote import quote_search
from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.progress import Progress
from side4video.planning.sweep import SweepPlan, plan_sweep
from side4video.runs.checkpoint_folders import storage_root
from side4video.runs.endless_pass import arms_of, is_over, passes_of, records_of
from side4video.runs.packs import SweepRun, assign_folders
from side4video.runs.shared_pass import train_shared
from side4video.runs.stop_signal import StopSignalProgress, is_interruption
from side4video.runs.trainer import LocalTrainer, Trainer
from side4video.spec.arm import Arm, Sweep, merge_duplicates
from side4video.spec.check_videos import check_experiments
from side4video.spec.check_weights import check_weights
from side4video.tracking.finished_runs import completed_arms
from side4video.tracking.run_holder import hold_folder, renewing_tag, wait_for_other_machine
from side4video.tracking.run_store import StoredRun
from side4video.tracking.stores import open_store
from side4video.tracking.sweep_logger import SweepLogger, open_sweep_logger, swept_by_arm
from side4video.tracking.tags import KEY_TAG


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep with prepared data, its completed arms and its plan."""

    sweep: Sweep
    key: str
    fingerprint: str
    completed: Mapping[str, StoredRun]
    """Runs of arms that have a result, by arm key."""
    plan: SweepPlan


def sweep_key(sweep: Sweep) -> str:
    """Identifies a sweep: a hash of its arms, scheduler and search, without packing and limits."""
    identity = sweep.spec.model_dump(
        mode="json", include={"name", "metric", "mode", "scheduler", "optuna", "seeds", "reference"}
    )
    if sweep.spec.has_seats:
        identity["seats"] = True  # arms see the clips of other epochs
    rows = [(row.table, row.label, row.experiment.digest()) for row in sweep.rows]
    base = [] if sweep.rows else [sweep.base_experiment.digest()]
    return hashlib.sha256(json.dumps([identity, rows, base], sort_keys=True).encode()).hexdigest()[:16]


def prepare_sweep(
    sweep: Sweep, *, progress: Progress, rerun: bool = False, trainer: Trainer | None = None
) -> PreparedSweep:
    """Check files, prepare data, find completed arms, and plan.

    `rerun` also runs arms that have a result. The trainer starts in the background during planning, if there is
    anything to train.

    Raises:
        InputError: If files are missing, an arm does not fit the memory, or this machine cannot hold the workers.
    """
    first = sweep.arms[0].experiment if sweep.arms else sweep.base_experiment
    dataset = first.data.dataset
    progress.report("preparing the data")
    check_experiments(sweep.named_experiments)
    dataset.prepare(lambda done, total: progress.report("preparing the data", done, total))
    fingerprint = dataset.fingerprint()
    progress.report("searching for finished runs")
    key = sweep_key(sweep)
    store = open_store(first.tracking).prepare()
    completed = {} if rerun else completed_arms(store, key, sweep.arms, fingerprint=fingerprint)
    progress.report("planning")
    if trainer is not None and (sweep.spec.optuna or any(arm.key not in completed for arm in sweep.arms)):
        if trainer.is_on_this_machine:
            check_weights(spec for _, spec in sweep.named_experiments)
        if not sweep.spec.shares_pass:  # another command may train its arms
            trainer.start()
    plan = plan_sweep(sweep, classes=len(first.data.listed.classes()), done=completed)
    # With `rerun`, a unique key creates new runs.
    return PreparedSweep(sweep, f"{key}-{time.time_ns():x}" if rerun else key, fingerprint, completed, plan)


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep."""

    sweep_logger: SweepLogger
    arms: tuple[Arm, ...]
    failures: Mapping[str, str]
    """Reasons of failed arms, by key."""
    left: frozenset[str]
    """Keys of arms that did not start before the time limit."""
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every arm has a result."""
        return not self.failures and not self.left


def run_sweep(prepared: PreparedSweep, *, progress: Progress, trainer: Trainer | None = None) -> SweepResult:
    """Run the arms of a sweep that have no result.

    Reports of a pack have its id. The default trainer trains in this process, one pack after the other.

    Raises:
        InputError: If the cluster does not fit a pack, or the sweep needs Ray and the trainer has none.
    """
    started = time.monotonic()
    sweep = prepared.sweep
    trainer = trainer or LocalTrainer()
    if sweep.spec.uses_epoch_results and not sweep.spec.has_seats and not trainer.can_stop_arms:
        raise InputError(
            "--local",
            "the sweep has a scheduler or Optuna, which are Ray Tune's",
            allowed="sweeps in which every arm trains to its end, and sweeps with seats",
            fix="remove --local, or add --set 'packing={seats: 8}'",
        )
    progress.report("creating the runs")
    quote = quote_search(prepared.plan, sweep.spec)
    plan = prepared.plan.as_json() | ({"search": quote.as_json()} if quote else {})
    sweep_logger = open_sweep_logger(sweep, key=prepared.key, plan=plan)
    swept = swept_by_arm(sweep.arms)
    for arm in sweep.arms:
        done = prepared.completed.get(arm.key)
        if done is not None and not done.is_in_sweep(prepared.key):
            sweep_logger.copy_result(arm, done, swept[arm.key])
    sweep_run = SweepRun(
        sweep_logger=sweep_logger,
        sweep=sweep,
        fingerprint=prepared.fingerprint,
        planner=prepared.plan.planner,
        progress=StopSignalProgress(progress),
        folder=_folder(sweep, prepared.key),
        deadline=started + 3600 * sweep.spec.limits.hours if sweep.spec.limits.hours != "any" else None,
    )
    held_tag = renewing_tag(sweep_logger.store, {sweep.spec.name: sweep_logger.parent})
    try:
        with signals.handling_signals(), held_tag:
            (_train_passes if sweep.spec.has_seats else _train_packs)(prepared, sweep_run, trainer)
    except BaseException as error:
        sweep_run.fail_active(str(error) or type(error).__name__, killed=is_interruption(error))
        sweep_logger.interrupt()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                "kept: the results of finished arms, and the newest checkpoint of each other arm"
            ) from error
        raise
    arms = sweep.arms or merge_duplicates(sweep_run.proposed)
    if sweep.spec.has_seats:
        sat = arms_of(records_of(sweep_logger.store, sweep_logger.parent))
        arms = (*sweep.arms, *(arm for arm in sat if arm.key not in {each.key for each in sweep.arms}))
    return SweepResult(
        sweep_logger, arms, dict(sweep_run.failures), frozenset(sweep_run.left), time.monotonic() - started
    )


def _train_packs(prepared: PreparedSweep, sweep_run: SweepRun, trainer: Trainer) -> None:
    optuna = prepared.sweep.spec.optuna
    packs = assign_folders(prepared.plan.packs, sweep_run) if not optuna else []
    if packs or optuna:
        trainer.train_packs(sweep_run, packs, prepared.completed)


def _train_passes(prepared: PreparedSweep, sweep_run: SweepRun, trainer: Trainer) -> None:
    sweep = prepared.sweep
    found = passes_of(
        sweep,
        done=prepared.completed.keys(),
        folder=sweep_run.folder,
        fingerprint=prepared.fingerprint,
    )
    store, parent = sweep_run.sweep_logger.store, sweep_run.sweep_logger.parent
    if sweep.spec.shares_pass:
        if len(found) > 1:
            raise InputError(
                f"{sweep.source}: packing.share",
                f"the arms need {len(found)} different streams of clips, so {len(found)} passes",
                allowed="arms with the same data, batches and evaluation",
                fix="remove share, or make it several sweeps",
            )
        train_shared(sweep_run, found[0], trainer)
    elif due := [each for each in found if not is_over(store, each, parent)]:
        trainer.train_passes(sweep_run, due)
    sweep_run.note_seats()


@contextmanager
def hold_sweep(sweep: Sweep) -> Iterator[None]:
    """Let no other command run this sweep inside the block, on this machine or another one.

    Raises:
        InputError: Another command does.
    """
    key = sweep_key(sweep)
    store = open_store(sweep.base_experiment.tracking).prepare()
    with hold_folder(_folder(sweep, key), f"sweep {sweep.spec.name}"):
        for run in store.runs(tags={KEY_TAG: f"sweep/{key}"}, limit=1):
            wait_for_other_machine(store, run)
        yield


def _folder(sweep: Sweep, key: str) -> str:
    return f"{storage_root(sweep.base_experiment)}/{sweep.spec.name}-{key}"

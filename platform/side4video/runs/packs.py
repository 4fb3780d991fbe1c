"""Trains the packs of a sweep: their checkpoint folders, their logging, and their failures."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from side4video.arm_search.records import LEFT
from side4video.arm_search.search import ArmSearch
from side4video.arm_search.shared_search import SharedSearch, member_prefix
from side4video.core import signals
from side4video.core.errors import Interrupted, Side4VideoError
from side4video.core.progress import Progress
from side4video.engine.checkpoint import checkpoints_in
from side4video.planning.packs import PlannedPack, Planner, make_packs
from side4video.runs.checkpoint_folders import moved_folder
from side4video.runs.endless_pass import EndlessPass, arms_of, is_over, records_of, store_requests
from side4video.runs.pass_logger import PassLogger
from side4video.runs.shared_logger import SharedPassLogger
from side4video.runs.trainer import Trained
from side4video.spec.arm import Arm, Sweep
from side4video.tracking.pack_logger import PackLogger, open_pack_logger
from side4video.tracking.run_holder import hold_folder
from side4video.tracking.run_inputs import changed_inputs
from side4video.tracking.sweep_logger import SweepLogger, swept_by_arm, unfinished_folders

TrainPass = Callable[[ArmSearch | SharedSearch, PassLogger | SharedPassLogger, Progress], None]
"""Trains a pass, given who takes its seats and where it is logged."""


@dataclass
class SweepRun:
    """The shared state of a sweep's packs, and their failures."""

    sweep_logger: SweepLogger
    sweep: Sweep
    fingerprint: str
    planner: Planner
    progress: Progress
    folder: str
    deadline: float | None
    """No pack starts after this time of the monotonic clock."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons of failed arms, by key."""
    left: set[str] = field(default_factory=set)
    """Keys of arms that did not start before the deadline."""
    proposed: list[Arm] = field(default_factory=list)
    """Arms that Optuna proposed."""
    _active: dict[str, PackLogger] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail_active(self, reason: str, *, killed: bool) -> None:
        """Log that all active packs ended without a result."""
        with self._lock:
            pack_loggers, self._active = dict(self._active), {}
        for pack_logger in pack_loggers.values():
            pack_logger.fail(reason, killed=killed)

    def train(self, pack: PlannedPack, train: Callable[[PackLogger, Progress], Trained]) -> dict[str, str]:
        """Train a pack and log it; returns the final state of each arm, by short key."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.left |= {arm.key for arm in pack.arms}
            return {arm.short_key: "failed" for arm in pack.arms}
        if signals.stop_requested():
            raise Interrupted("asked to stop (SIGTERM) before this pack started")
        with hold_folder(pack.folder, f"arms of {self.sweep.spec.name}"):
            return self._train(pack, train)

    def _train(self, pack: PlannedPack, train: Callable[[PackLogger, Progress], Trained]) -> dict[str, str]:
        progress = _PackProgress(self.progress, pack.pack_id)
        progress.report("creating the runs", arms=[arm.short_key for arm in pack.arms])
        pack_logger = self._open_pack_logger(pack)
        with self._lock:
            self._active[pack.pack_id] = pack_logger
        try:
            results, checkpoint = train(pack_logger, progress)
            progress.report("storing the results")
            for name, result in results.items():
                pack_logger.close(name, result, checkpoint)
        except Interrupted as interruption:
            pack_logger.fail(str(interruption), killed=True)
            raise
        except Side4VideoError as error:
            pack_logger.fail(str(error))
            self.failures |= {arm.key: str(error) for arm in pack.arms}
            progress.report("failed", reason=str(error))
            return {arm.short_key: "failed" for arm in pack.arms}
        finally:
            with self._lock:
                self._active.pop(pack.pack_id, None)
        states = {name: str(result["state"]) for name, result in results.items()}
        progress.report("done", states=states)
        return states

    def train_pass(self, endless: EndlessPass, train: TrainPass) -> None:
        """Train an endless pass. An error that ends it fails the arms in its seats; others wait for the next time.

        The command of a shared pass holds its folder already.
        """
        store, parent = self.sweep_logger.store, self.sweep_logger.parent
        if signals.stop_requested():
            raise Interrupted("asked to stop (SIGTERM) before this pass started")
        search = endless.search(self.planner, requests=store_requests(store, parent), deadline=self.deadline)
        classes = len(endless.base.data.listed.classes())
        logger = endless.logger(self.sweep_logger, fingerprint=self.fingerprint, classes=classes)
        prefix = member_prefix(parent) if endless.shared else ""
        progress = _PackProgress(self.progress, endless.pass_id, prefix)
        progress.report("creating the runs", arms=[arm.short_key for arm in endless.arms])
        held = nullcontext() if endless.shared else hold_folder(endless.folder, f"arms of {self.sweep.spec.name}")
        with held:
            try:
                train(search, logger, progress)
            except (Side4VideoError, KeyboardInterrupt) as error:
                is_killed = isinstance(error, (Interrupted, KeyboardInterrupt))
                is_late = self.deadline is not None and time.monotonic() > self.deadline
                if endless.shared and isinstance(error, Interrupted) and (is_late or is_over(store, endless, parent)):
                    progress.report("handing the pass over to another sweep")
                    return
                logger.fail_open(str(error) or "interrupted", killed=is_killed)
                if is_killed:
                    raise
                progress.report("failed", reason=str(error))
                self.failures |= {arm.key: str(error) for arm in arms_of(records_of(store, parent) or [])}
        progress.report("done", states={record.name: record.state for record in records_of(store, parent)})

    def note_seats(self) -> None:
        """Take over which arms of the endless passes failed, and which have not ended."""
        records = records_of(self.sweep_logger.store, self.sweep_logger.parent)
        for arm, record in zip(arms_of(records), records, strict=True):
            if record.state == "failed":
                self.failures[arm.key] = record.reason
            elif record.state not in LEFT and arm.key not in self.failures:
                self.left.add(arm.key)

    def _open_pack_logger(self, pack: PlannedPack) -> PackLogger:
        packed = {arm.key for arm in pack.arms}
        fixed = [arm for arm in self.sweep.arms if arm.key not in packed]
        swept = swept_by_arm(pack.arms, fixed)
        arm_runs = {
            arm.short_key: self.sweep_logger.arm_run_info(
                arm, swept=swept[arm.key], pack=pack.pack_id, predicted=pack.predicted
            )
            for arm in pack.arms
        }
        plans = {arm.short_key: self.planner(arm.experiment).as_json() for arm in pack.arms}
        return open_pack_logger(
            pack.experiments,
            plans=plans,
            fingerprint=self.fingerprint,
            checkpoint_folder=pack.folder,
            resume=True,
            arm_runs=arm_runs,
        )


def assign_folders(packs: Sequence[PlannedPack], sweep_run: SweepRun) -> list[PlannedPack]:
    """Give each pack a folder. Arms of an interrupted sweep resume in the folders of their checkpoints."""
    arms = {arm.key: arm for pack in packs for arm in pack.arms}
    # An arm that began on other data or weights begins again, in another folder.
    children = {
        key: run
        for key, run in sweep_run.sweep_logger.children().items()
        if key in arms and not changed_inputs(run, arms[key].experiment, sweep_run.fingerprint)
    }
    folders = {
        moved_folder(recorded, sweep_run.folder): keys for recorded, keys in unfinished_folders(children, arms).items()
    }
    started = {key for keys in folders.values() for key in keys}
    planned = [
        pack
        for folder, keys in folders.items()
        for pack in _packs_in_folder(folder, [arms[key] for key in keys], sweep_run)
    ]
    for pack in packs:
        new = [arm for arm in pack.arms if arm.key not in started]
        whole = pack.arms == tuple(new)
        for part in (pack,) if whole else make_packs(new, sweep_run.sweep.spec, sweep_run.planner):
            planned.append(_with_folder(part, sweep_run))
    return planned


def _packs_in_folder(folder: str, arms: list[Arm], sweep_run: SweepRun) -> list[PlannedPack]:
    """Pack arms that were one pack before: as one pack again, or as several that resume from its checkpoint."""
    packs = make_packs(arms, sweep_run.sweep.spec, sweep_run.planner)
    if len(packs) == 1:
        return [replace(packs[0], folder=folder)]
    before = () if "://" in folder else tuple(checkpoints_in(Path(folder)))
    return [replace(_with_folder(pack, sweep_run), resume_from=before) for pack in packs]


def _with_folder(pack: PlannedPack, sweep_run: SweepRun) -> PlannedPack:
    weights = dict.fromkeys(arm.experiment.weights_identity() for arm in pack.arms)
    named = dict.fromkeys(arm.experiment.data.name_fingerprint(sweep_run.fingerprint) for arm in pack.arms)
    began_with = [*named, *(each for each in weights if each.startswith("file:") or "+" in each)]
    keys = "".join([*(arm.key for arm in pack.arms), *began_with])
    return replace(pack, folder=f"{sweep_run.folder}/{hashlib.sha256(keys.encode()).hexdigest()[:12]}")


class _PackProgress:
    """Adds the pack's id to each report, and calls the sweep's own arms on a shared pass by their short keys."""

    def __init__(self, progress: Progress, pack_id: str, prefix: str = "") -> None:
        self._progress, self._pack_id, self._prefix = progress, pack_id, prefix

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        shown = {name: self._short(value) for name, value in details.items()} if self._prefix else details
        self._progress.report(phase, done, total, **shown, pack=self._pack_id)

    def _short(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each.removeprefix(self._prefix) for each in value]
        if isinstance(value, Mapping):
            return {name.removeprefix(self._prefix): each for name, each in value.items()}
        return value

"""The packs of a sweep: where each keeps its checkpoints, what its records say, and how it is trained."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from side4video.core import leaving
from side4video.core.errors import Interrupted, Side4VideoError
from side4video.core.units import as_gib
from side4video.distributed.launch import Show, train_here
from side4video.engine.checkpoint import checkpoints_in
from side4video.planning.pack_memory import PackMemory
from side4video.planning.packs import PlannedPack, PlanOf, compile_packs
from side4video.spec.arms import Arm, Row, Sweep
from side4video.tracking.journal import Journal, open_journal
from side4video.tracking.sweep_record import SweepRecord, swept_by_arm, unfinished_places


@dataclass(frozen=True)
class PackJob:
    """A pack that is to train."""

    pack_id: str
    arms: tuple[Arm, ...]
    place: str
    """Its folder for checkpoints; it goes on from the newest one there."""
    resume_from: tuple[Path, ...]
    """Checkpoints, newest first, of another pack that held these arms."""
    memory: PackMemory
    speedup: float

    @property
    def predicted(self) -> dict[str, float]:
        """The pack's figures, for the records of its arms."""
        return {
            "plan/pack_peak_memory_gib": as_gib(self.memory.peak),
            "plan/pack_arms": float(len(self.arms)),
            "plan/pack_speedup": self.speedup,
        }


@dataclass
class SweepWork:
    """What the packs of a sweep share, and what became of them."""

    record: SweepRecord
    sweep: Sweep
    fingerprint: str
    plan_of: PlanOf
    show: Show
    folder: str
    deadline: float | None
    """When no further pack begins, on the monotonic clock."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why arms failed, by key."""
    left: set[str] = field(default_factory=set)
    """Arms that were not begun because the time was over."""
    proposed: list[Row] = field(default_factory=list)
    """Rows that Optuna proposed."""
    _open: dict[str, Journal] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def train_on_ray(self, job: PackJob, *, hub: Any) -> dict[str, str]:
        """Train a pack on the connected cluster; how each arm ended, by its short key."""
        from side4video.distributed.train import SweepSide, train_on_ray

        side = SweepSide(hub, self.sweep.spec.metric, job.resume_from)

        def train(journal: Journal, show: Show) -> Any:
            storage, _, name = job.place.rpartition("/")
            return train_on_ray(_students(job), journal, place=storage, name=name, show=show, sweep=side)

        return self._train(job, train)

    def train_here(self, job: PackJob) -> dict[str, str]:
        """Train a pack in this process; how each arm ended, by its short key."""

        def train(journal: Journal, show: Show) -> Any:
            return train_here(_students(job), journal, place=job.place, show=show, resume_from=job.resume_from)

        return self._train(job, train)

    def fail_open(self, reason: str, *, killed: bool) -> None:
        """Say of every pack that was at work that it ended without a result."""
        with self._lock:
            journals, self._open = dict(self._open), {}
        for journal in journals.values():
            journal.fail(reason, killed=killed)

    def _train(self, job: PackJob, train: Callable[[Journal, Show], Any]) -> dict[str, str]:
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.left |= {arm.key for arm in job.arms}
            return {arm.short_key: "failed" for arm in job.arms}
        if leaving.is_asked():
            raise Interrupted("told to end (SIGTERM) before this pack began")
        show = _named(self.show, job.pack_id)
        show({"phase": "opening the records", "arms": [arm.short_key for arm in job.arms]})
        journal = self._open_journal(job)
        with self._lock:
            self._open[job.pack_id] = journal
        try:
            outcomes, checkpoint = train(journal, show)
            show({"phase": "storing the results"})
            for name, outcome in outcomes.items():
                journal.close(name, outcome, checkpoint)
        except Interrupted as interruption:
            journal.fail(str(interruption), killed=True)
            raise
        except Side4VideoError as error:
            journal.fail(str(error))
            self.failures |= {arm.key: str(error) for arm in job.arms}
            show({"phase": "failed", "reason": str(error)})
            return {arm.short_key: "failed" for arm in job.arms}
        finally:
            with self._lock:
                self._open.pop(job.pack_id, None)
        states = {name: str(outcome["state"]) for name, outcome in outcomes.items()}
        show({"phase": "done", "states": states})
        return states

    def _open_journal(self, job: PackJob) -> Journal:
        fixed = [arm for arm in self.sweep.arms if arm.key not in {each.key for each in job.arms}]
        swept = swept_by_arm(job.arms, fixed)
        members = {
            arm.short_key: self.record.membership(arm, swept=swept[arm.key], pack=job.pack_id, predicted=job.predicted)
            for arm in job.arms
        }
        plans = {arm.short_key: self.plan_of(arm.experiment).as_json() for arm in job.arms}
        return open_journal(
            _students(job),
            plans=plans,
            fingerprint=self.fingerprint,
            place=job.place,
            resume=True,
            members=members,
        )


def pack_jobs(packs: Sequence[PlannedPack], work: SweepWork) -> list[PackJob]:
    """The packs as jobs. Arms that were begun before go on together, where their checkpoints lie."""
    arms = {arm.key: arm for pack in packs for arm in pack.arms}
    places = unfinished_places(work.record.children(), arms)
    begun = {key for keys in places.values() for key in keys}
    jobs = [job for place, keys in places.items() for job in _jobs_at(place, [arms[key] for key in keys], work)]
    for pack in packs:
        new = [arm for arm in pack.arms if arm.key not in begun]
        whole = pack.arms == tuple(new)
        for part in (pack,) if whole else compile_packs(new, work.sweep.spec, work.plan_of):
            jobs.append(_job(part, work))
    return jobs


def _jobs_at(place: str, arms: list[Arm], work: SweepWork) -> list[PackJob]:
    """Arms that were begun as one pack, as one again, or as several that go on from its checkpoint."""
    packs = compile_packs(arms, work.sweep.spec, work.plan_of)
    if len(packs) == 1:
        return [_job(packs[0], work, place=place)]
    before = () if "://" in place else tuple(checkpoints_in(Path(place)))
    return [_job(pack, work, resume_from=before) for pack in packs]


def _job(pack: PlannedPack, work: SweepWork, *, place: str = "", resume_from: tuple[Path, ...] = ()) -> PackJob:
    keys = "".join(arm.key for arm in pack.arms)
    pack_id = place.rpartition("/")[2] or hashlib.sha256(keys.encode()).hexdigest()[:12]
    return PackJob(pack_id, pack.arms, place or f"{work.folder}/{pack_id}", resume_from, pack.memory, pack.speedup)


def _students(job: PackJob) -> dict[str, Any]:
    return {arm.short_key: arm.experiment for arm in job.arms}


def _named(show: Show, pack_id: str) -> Show:
    return lambda message: show({**message, "pack": pack_id})

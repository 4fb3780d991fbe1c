"""A sweep from its document to its records: what is done, what is packed, who trains it, who decides.

Packs train in threads of the driver that wait for Ray Train's workers; virtual trials run in Ray Tune beside them;
the hub stands between. Importing this does not import Ray.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from side4video.core import leaving
from side4video.core.errors import InputError
from side4video.distributed.environment import RayCluster
from side4video.distributed.launch import Show, is_interruption, noting_work, storage_root
from side4video.distributed.sweep_packs import PackJob, SweepWork, pack_jobs
from side4video.planning.sweep import SweepPlan, plan_sweep
from side4video.spec.arms import Arm, Sweep, distinct, short_key
from side4video.spec.check import check_files
from side4video.tracking.journal import PLACE_TAG
from side4video.tracking.settled import Settled, settled_arms
from side4video.tracking.store import Store
from side4video.tracking.sweep_record import SweepRecord, open_sweep_record, swept_by_arm


@dataclass(frozen=True)
class Prepared:
    """A sweep that can begin: its data are there, and it is known what is done."""

    sweep: Sweep
    key: str
    fingerprint: str
    settled: Mapping[str, Settled]
    plan: SweepPlan


def sweep_key(sweep: Sweep) -> str:
    """What a sweep is known by: its arms and whoever decides on them, not how it is packed or what it may take."""
    identity = sweep.spec.model_dump(
        mode="json", include={"name", "metric", "mode", "scheduler", "optuna", "seeds", "reference"}
    )
    rows = [(row.table, row.label, row.experiment.digest()) for row in sweep.rows]
    base = [] if sweep.rows else [sweep.base_experiment.digest()]
    return hashlib.sha256(json.dumps([identity, rows, base], sort_keys=True).encode()).hexdigest()[:16]


def prepare_sweep(sweep: Sweep, *, show: Show, rerun: bool = False, cluster: RayCluster | None = None) -> Prepared:
    """Look at files, make what has to be made, ask the ledger, and plan.

    Args:
        sweep: The checked sweep.
        show: Gets progress messages.
        rerun: Whether arms run although they have a result.
        cluster: Comes up beside the planning, if there is anything to run.

    Raises:
        InputError: If files are missing, an arm does not fit the memory, or this machine cannot hold the workers.
    """
    experiments = [arm.experiment for arm in sweep.arms] or [sweep.base_experiment]
    dataset = experiments[0].data.dataset
    show({"phase": "preparing the data"})
    looked_at: set[str] = set()
    for spec in experiments:
        files = json.dumps([spec.resolved()[part] for part in ("backbone", "data", "task")], sort_keys=True)
        if files not in looked_at:
            looked_at.add(files)
            check_files(spec)
    dataset.prepare(lambda done, total: show({"phase": "preparing the data", "step": done, "steps": total}))
    fingerprint = dataset.fingerprint()
    show({"phase": "asking the ledger"})
    key = sweep_key(sweep)
    store = Store.from_spec(experiments[0].tracking).prepare()
    settled = {} if rerun else settled_arms(store, key, sweep.arms, fingerprint=fingerprint)
    show({"phase": "planning"})
    if cluster is not None and (sweep.spec.optuna or any(arm.key not in settled for arm in sweep.arms)):
        cluster.begin()
    plan = plan_sweep(sweep, classes=len(dataset.classes()), done=settled)
    # What runs again has records of its own.
    return Prepared(sweep, f"{key}-{time.time_ns():x}" if rerun else key, fingerprint, settled, plan)


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended."""

    record: SweepRecord
    arms: tuple[Arm, ...]
    failures: Mapping[str, str]
    """Why arms failed, by key."""
    left: frozenset[str]
    """Keys of arms that were not run, because the time was over."""
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every arm has a result."""
        return not self.failures and not self.left


def run_sweep(prepared: Prepared, *, show: Show, cluster: RayCluster | None = None) -> SweepOutcome:
    """Run what is missing of a sweep.

    Args:
        prepared: The sweep.
        show: Gets progress messages; those of a pack name it.
        cluster: The Ray cluster that trains it; without one, pack after pack trains in this process.

    Raises:
        InputError: If the cluster cannot hold a pack, or somebody is to decide without Ray.
    """
    started = time.monotonic()
    sweep = prepared.sweep
    if cluster is None and sweep.spec.decides:
        raise InputError(
            "--local",
            "the sweep has a scheduler or Optuna, which are Ray Tune's",
            allowed="sweeps in which every arm trains to its end",
            fix="leave --local out, or add --set scheduler=none",
        )
    show({"phase": "opening the records"})
    record = open_sweep_record(sweep, key=prepared.key, plan=prepared.plan.as_json())
    swept = swept_by_arm(sweep.arms)
    for arm in sweep.arms:
        done = prepared.settled.get(arm.key)
        if done is not None and not done.is_own:
            record.adopt(arm, done.run, swept[arm.key])
    work = SweepWork(
        record=record,
        sweep=sweep,
        fingerprint=prepared.fingerprint,
        plan_of=prepared.plan.plan_of,
        show=noting_work(show),
        folder=_folder(prepared),
        deadline=started + 3600 * sweep.spec.limits.hours if sweep.spec.limits.hours != "any" else None,
    )
    try:
        with leaving.heeding_signals():
            jobs = pack_jobs(prepared.plan.packs, work) if not sweep.spec.optuna else []
            if cluster is None:
                for job in jobs:
                    work.train_here(job)
            elif jobs or sweep.spec.optuna:
                _run_on_ray(prepared, work, jobs, cluster)
    except BaseException as error:
        work.fail_open(str(error) or type(error).__name__, killed=is_interruption(error))
        record.interrupt()
        raise
    arms = sweep.arms or distinct(work.proposed)
    return SweepOutcome(record, arms, dict(work.failures), frozenset(work.left), time.monotonic() - started)


def _folder(prepared: Prepared) -> str:
    return f"{storage_root(prepared.sweep.base_experiment)}/{prepared.sweep.spec.name}-{prepared.key}"


def _run_on_ray(prepared: Prepared, work: SweepWork, jobs: Sequence[PackJob], cluster: RayCluster) -> None:
    work.show({"phase": cluster.phase})
    ray = cluster.connected(*(arm.experiment.cluster for job in jobs for arm in job.arms))
    leaving.heed_again()
    from side4video.distributed.sweep_trials import SweepTrials

    trials = SweepTrials(ray, work)
    _replay(prepared, trials)
    trials.run(jobs)


def _replay(prepared: Prepared, trials: Any) -> None:
    """Give the hub what settled arms measured, pack by pack and epoch by epoch, as it was when they were trained."""
    if not prepared.sweep.spec.decides:
        return
    by_place: dict[str, list[str]] = {}
    order = sorted(prepared.settled, key=lambda key: (prepared.settled[key].run.start_ms, key))
    for key in order:
        by_place.setdefault(prepared.settled[key].run.tags.get(PLACE_TAG, key), []).append(key)
    for keys in by_place.values():
        trials.tell({short_key(key): prepared.settled[key].run for key in keys})

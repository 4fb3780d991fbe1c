"""Runs the virtual trials and the packs of a sweep on one cluster, until all arms have ended."""

import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from side4video.core.errors import InputError, Interrupted, Side4VideoError
from side4video.core.progress import Progress
from side4video.distributed.cluster import nodes_of
from side4video.distributed.results_actor import ResultsActor
from side4video.distributed.train import SweepFeedback, train_on_ray
from side4video.planning.packs import PlannedPack, make_packs
from side4video.runs.packs import SweepRun, assign_folders
from side4video.runs.trainer import Trained, tell_resources
from side4video.spec.arm import Arm, merge_duplicates, short_key
from side4video.spec.resources import resources_text, worker_resources
from side4video.spec.sweep import AshaScheduler
from side4video.tracking.finished_runs import completed_arms, metric_history
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.run_store import StoredRun
from side4video.tracking.sweep_logger import swept_by_arm
from side4video.tracking.tags import STATE_TAG

POLL_SECONDS = 0.5
"""How often the driver checks for failures and Ctrl-C."""


class _FirstPackProgress:
    """Passes reports on, and sets an event when the first pack trains or fails."""

    def __init__(self, progress: Progress, first_pack_started: threading.Event) -> None:
        self._progress, self._first_pack_started = progress, first_pack_started

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        if "pack" in details and phase not in ("creating the runs", "starting the workers"):
            self._first_pack_started.set()
        self._progress.report(phase, done, total, **details)


class SweepTrials:
    """Runs a sweep on Ray: packs in threads, virtual trials in Ray Tune."""

    def __init__(self, ray: Any, sweep_run: SweepRun) -> None:
        """Start the results actor on a connected cluster."""
        self.ray, self.sweep_run = ray, sweep_run
        self.results_actor_name = f"side4video-hub-{uuid.uuid4().hex[:8]}"
        spec = sweep_run.sweep.spec
        # On the driver's node, so that the actor does not die with another node.
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.results_actor: Any = (
            ray.remote(num_cpus=0)(ResultsActor)
            .options(name=self.results_actor_name, scheduling_strategy=here)
            .remote(
                spec.uses_epoch_results,
                metric=spec.metric,
                mode=spec.mode,
                reduction=spec.scheduler.reduction if isinstance(spec.scheduler, AshaScheduler) else 0.0,
            )
        )
        self._replayed: list[str] = []
        self._batch: dict[int, Arm] = {}
        self._proposals: dict[int, tuple[Arm, ...]] = {}
        self._count = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._packs = ThreadPoolExecutor(sweep_run.sweep.spec.limits.parallel_packs, thread_name_prefix="pack")
        self._futures: list[Future[None]] = []

    def replay(self, runs: Mapping[str, StoredRun]) -> None:
        """Send the stored results of completed arms to Ray Tune, epoch by epoch. `runs` is by short key."""
        by_epoch: dict[int, dict[str, dict[str, float]]] = {}
        for name, run in runs.items():
            for each in metric_history(self.sweep_run.sweep_logger.store, run.run_id, self.sweep_run.sweep.spec.metric):
                by_epoch.setdefault(each.epoch, {})[name] = each.metrics
        states = {name: run.tags[STATE_TAG] for name, run in runs.items()}
        for epoch in sorted(by_epoch):
            self.ray.get(self.results_actor.replay.remote(epoch, by_epoch[epoch]))
        self.ray.get(self.results_actor.end.remote(states))
        self._replayed += [name for name in states if name not in self._replayed]

    def run(self, packs: Sequence[PlannedPack]) -> None:
        """Train the packs while their trials report, until all have ended.

        Raises:
            Side4VideoError: If the trials failed. A failed pack only fails its own arms.
        """
        progress, first_pack_started = self.sweep_run.progress, threading.Event()
        self.sweep_run.progress = _FirstPackProgress(progress, first_pack_started)
        for pack in packs:
            self._submit(pack)
        arms = [*self._replayed, *(arm.short_key for pack in packs for arm in pack.arms)]
        if self.sweep_run.sweep.spec.optuna or not packs:
            first_pack_started.set()
        trials = threading.Thread(target=self._run_trials, args=(arms, first_pack_started), name="trials", daemon=True)
        trials.start()
        try:
            # Ray Tune runs in another thread, because it would handle Ctrl-C itself in the main thread.
            while trials.is_alive() or not all(future.done() for future in self._futures):
                if not first_pack_started.is_set() and all(future.done() for future in self._futures):
                    first_pack_started.set()  # no pack could start: let the trials see the failures
                trials.join(POLL_SECONDS) if trials.is_alive() else threading.Event().wait(POLL_SECONDS)
                self._raise_failures()
            self._raise_failures()
            progress.report("ending the trials")
        finally:
            self._is_closed = True
            self._packs.shutdown(wait=False, cancel_futures=True)
            self.ray.kill(self.results_actor)

    def _raise_failures(self) -> None:
        if self._failure is not None:
            raise Side4VideoError(f"Ray Tune failed: {self._failure}") from self._failure
        for future in self._futures:
            if future.done() and (error := future.exception()) is not None:
                if isinstance(error, Interrupted):
                    self._packs.shutdown(wait=True, cancel_futures=True)  # the other packs save checkpoints, too
                raise error

    def _run_trials(self, arms: Sequence[str], first_pack_started: threading.Event) -> None:
        # Start the pack's workers first: trials would only wait, and slow them down.
        first_pack_started.wait()
        try:
            from side4video.distributed.tune import run_trials

            run_trials(
                self.sweep_run.sweep.spec,
                results_actor_name=self.results_actor_name,
                results_actor=self.results_actor,
                arms=arms,
                batch=self.sweep_run.sweep.batch,
                proposed=self._take_proposal,
            )
        except BaseException as error:
            self._failure = error

    def _submit(self, pack: PlannedPack) -> None:
        self._futures.append(self._packs.submit(self._train, pack))

    def _train(self, pack: PlannedPack) -> None:
        feedback = SweepFeedback(self.results_actor, self.sweep_run.sweep.spec.metric, pack.resume_from)

        def train(pack_logger: PackLogger, progress: Progress) -> Trained:
            folder, _, name = pack.folder.rpartition("/")
            nodes = nodes_of(self.ray)
            cluster = next(iter(pack.experiments.values())).cluster
            at_once = self.sweep_run.sweep.spec.limits.parallel_packs
            resources = worker_resources(cluster, nodes, at_once=at_once)
            tell_resources(pack_logger, progress, resources_text(resources, nodes, workers=cluster.workers_text))
            return train_on_ray(
                pack.experiments,
                pack_logger,
                storage=folder,
                name=name,
                progress=progress,
                resources=resources,
                sweep=feedback,
            )

        states = self.sweep_run.train(pack, train)
        if self._is_closed:
            return  # after `ray.shutdown` a call of Ray would start a new cluster
        reason = next((self.sweep_run.failures[arm.key] for arm in pack.arms if arm.key in self.sweep_run.failures), "")
        try:
            self.ray.get(self.results_actor.end.remote(states, reason))
        except Exception as error:  # Ray raises several unrelated classes
            first = str(error).strip().splitlines()[0]
            raise Side4VideoError(
                f"Ray was lost: {first} · fix: check the memory of the head node; the same command continues from here"
            ) from error

    # ---- arms that Optuna proposes while the sweep runs

    def _take_proposal(self, overrides: Mapping[str, Any], before: int) -> str:
        """Turn a proposal into an arm, and train the batch when it is complete. Called in Ray Tune's loop."""
        spec = self.sweep_run.sweep.spec
        number, repeat = divmod(before, spec.seeds)
        self._count += 1
        try:
            if number not in self._proposals:
                self._proposals[number] = self.sweep_run.sweep.propose(number, overrides)
            row = self._proposals[number][repeat]
            self._batch[before] = row
            name = short_key(row.experiment.digest())
        except InputError as error:
            name = f"refused-{number}-{repeat}"
            self.results_actor.end.remote({name: "failed"}, str(error))
            self.sweep_run.progress.report("refused", reason=str(error))
        total = (spec.optuna.arms if spec.optuna else 0) * spec.seeds
        if self._count % (self.sweep_run.sweep.batch * spec.seeds) == 0 or self._count == total:
            batch, self._batch = self._batch, {}
            self._futures.append(self._packs.submit(self._train_batch, [batch[index] for index in sorted(batch)]))
        return name

    def _train_batch(self, rows: Sequence[Arm]) -> None:
        """Train the arms that have no finished run."""
        sweep_run = self.sweep_run
        known = {row.experiment.digest() for row in sweep_run.proposed}
        sweep_run.proposed += rows
        new = [arm for arm in merge_duplicates(rows) if arm.key not in known]
        missing = [arm for arm in new if not self._reuse_finished_run(arm)]
        if missing:
            for pack in assign_folders(make_packs(missing, sweep_run.sweep.spec, sweep_run.planner), sweep_run):
                self._train(pack)

    def _reuse_finished_run(self, arm: Arm) -> bool:
        sweep_run = self.sweep_run
        run = completed_arms(
            sweep_run.sweep_logger.store, sweep_run.sweep_logger.key, [arm], fingerprint=sweep_run.fingerprint
        ).get(arm.key)
        if run is None:
            return False
        if not run.is_in_sweep(sweep_run.sweep_logger.key):
            sweep_run.sweep_logger.copy_result(arm, run, swept_by_arm([arm])[arm.key])
        self.replay({arm.short_key: run})
        return True

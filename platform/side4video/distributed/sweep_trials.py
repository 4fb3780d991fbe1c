"""Virtual trials and packs side by side on one cluster, until all arms have ended."""

import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from side4video.core.errors import InputError, Interrupted, Side4VideoError
from side4video.core.progress import Progress
from side4video.distributed.results_actor import ResultsActor
from side4video.distributed.train import SweepFeedback, train_on_ray
from side4video.planning.packs import PlannedPack, compile_packs
from side4video.runs.packs import SweepRun, place_packs
from side4video.runs.trainer import Trained
from side4video.spec.sweep import AshaScheduler
from side4video.spec.sweep_arms import Arm, distinct, short_key
from side4video.tracking.finished_runs import completed_arms, metric_history
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.run_store import StoredRun
from side4video.tracking.sweep_logger import swept_by_arm
from side4video.tracking.tags import STATE_TAG

LOOK_SECONDS = 0.5
"""How often the driver looks whether a pack or the trials failed, and listens to Ctrl-C."""


class _FirstPackProgress:
    """Passes reports on, and sets an event when the first pack trains or has failed."""

    def __init__(self, progress: Progress, begun: threading.Event) -> None:
        self._progress, self._begun = progress, begun

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        if "pack" in details and phase not in ("opening the records", "starting the workers"):
            self._begun.set()
        self._progress.report(phase, done, total, **details)


class SweepTrials:
    """The Ray side of a sweep."""

    def __init__(self, ray: Any, work: SweepRun) -> None:
        """Begin the hub on a connected cluster."""
        self.ray, self.work = ray, work
        self.results_actor_name = f"side4video-hub-{uuid.uuid4().hex[:8]}"
        spec = work.sweep.spec
        # On the driver's own node: the hub must not go with another one.
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.results_actor: Any = (
            ray.remote(num_cpus=0)(ResultsActor)
            .options(name=self.results_actor_name, scheduling_strategy=here)
            .remote(
                spec.decides,
                metric=spec.metric,
                mode=spec.mode,
                reduction=spec.scheduler.reduction if isinstance(spec.scheduler, AshaScheduler) else 0.0,
            )
        )
        self._told: list[str] = []
        self._batch: dict[int, Arm] = {}
        self._proposals: dict[int, tuple[Arm, ...]] = {}
        self._count = 0
        self._failure: BaseException | None = None
        self._is_over = False
        self._packs = ThreadPoolExecutor(work.sweep.spec.limits.parallel_packs, thread_name_prefix="pack")
        self._futures: list[Future[None]] = []

    def tell(self, runs: Mapping[str, StoredRun]) -> None:
        """Give the hub what arms measured before, epoch by epoch, and how they ended: their runs, by short key."""
        rounds: dict[int, dict[str, dict[str, float]]] = {}
        for name, run in runs.items():
            for each in metric_history(self.work.record.store, run.run_id, self.work.sweep.spec.metric):
                rounds.setdefault(each.epoch, {})[name] = each.metrics
        states = {name: run.tags[STATE_TAG] for name, run in runs.items()}
        for epoch in sorted(rounds):
            self.ray.get(self.results_actor.tell.remote(epoch, rounds[epoch]))
        self.ray.get(self.results_actor.end.remote(states))
        self._told += [name for name in states if name not in self._told]

    def run(self, packs: Sequence[PlannedPack]) -> None:
        """Train the packs while their trials report; ends when all have ended.

        Raises:
            Side4VideoError: If the trials failed; a pack that fails fails its own arms.
        """
        progress, begun = self.work.progress, threading.Event()
        self.work.progress = _FirstPackProgress(progress, begun)
        for pack in packs:
            self._submit(pack)
        arms = [*self._told, *(arm.short_key for pack in packs for arm in pack.arms)]
        if self.work.sweep.spec.optuna or not packs:
            begun.set()
        trials = threading.Thread(target=self._run_trials, args=(arms, begun), name="trials", daemon=True)
        trials.start()
        try:
            # The main thread stays free for Ctrl-C, which Ray Tune would take for itself.
            while trials.is_alive() or not all(future.done() for future in self._futures):
                if not begun.is_set() and all(future.done() for future in self._futures):
                    begun.set()  # no pack came to work, and the trials are to hear it
                trials.join(LOOK_SECONDS) if trials.is_alive() else threading.Event().wait(LOOK_SECONDS)
                self._raise_failures()
            self._raise_failures()
            progress.report("ending the trials")
        finally:
            self._is_over = True
            self._packs.shutdown(wait=False, cancel_futures=True)
            self.ray.kill(self.results_actor)

    def _raise_failures(self) -> None:
        if self._failure is not None:
            raise Side4VideoError(f"Ray Tune failed: {self._failure}") from self._failure
        for future in self._futures:
            if future.done() and (error := future.exception()) is not None:
                if isinstance(error, Interrupted):
                    self._packs.shutdown(wait=True, cancel_futures=True)  # the others save, too
                raise error

    def _run_trials(self, arms: Sequence[str], begun: threading.Event) -> None:
        # The pack's workers come first: trials that started beside them would only wait, and take their time.
        begun.wait()
        try:
            from side4video.distributed.tune import run_trials

            run_trials(
                self.work.sweep.spec,
                results_actor_name=self.results_actor_name,
                results_actor=self.results_actor,
                arms=arms,
                batch=self.work.sweep.batch,
                proposed=self._take_proposal,
            )
        except BaseException as error:
            self._failure = error

    def _submit(self, pack: PlannedPack) -> None:
        self._futures.append(self._packs.submit(self._train, pack))

    def _train(self, pack: PlannedPack) -> None:
        feedback = SweepFeedback(self.results_actor, self.work.sweep.spec.metric, pack.resume_from)

        def train(pack_logger: PackLogger, progress: Progress) -> Trained:
            folder, _, name = pack.folder.rpartition("/")
            return train_on_ray(
                pack.experiments, pack_logger, place=folder, name=name, progress=progress, sweep=feedback
            )

        states = self.work.train(pack, train)
        if self._is_over:
            return  # a call of Ray would start a cluster of its own now
        reason = next((self.work.failures[arm.key] for arm in pack.arms if arm.key in self.work.failures), "")
        try:
            self.ray.get(self.results_actor.end.remote(states, reason))
        except Exception as error:  # Ray has no one name for it
            first = str(error).strip().splitlines()[0]
            raise Side4VideoError(
                f"Ray was lost: {first} · fix: look for lack of memory on the head; the same command goes on from here"
            ) from error

    # ---- arms that Optuna proposes while the sweep runs

    def _take_proposal(self, overrides: Mapping[str, Any], before: int) -> str:
        """Called in Ray Tune's loop: makes an arm of a proposal, and begins the batch when it is whole."""
        spec = self.work.sweep.spec
        number, repeat = divmod(before, spec.seeds)
        self._count += 1
        try:
            if number not in self._proposals:
                self._proposals[number] = self.work.sweep.propose(number, overrides)
            row = self._proposals[number][repeat]
            self._batch[before] = row
            name = short_key(row.experiment.digest())
        except InputError as error:
            name = f"refused-{number}-{repeat}"
            self.results_actor.end.remote({name: "failed"}, str(error))
            self.work.progress.report("refused", reason=str(error))
        total = (spec.optuna.arms if spec.optuna else 0) * spec.seeds
        if self._count % (self.work.sweep.batch * spec.seeds) == 0 or self._count == total:
            batch, self._batch = self._batch, {}
            self._futures.append(self._packs.submit(self._begin_batch, [batch[place] for place in sorted(batch)]))
        return name

    def _begin_batch(self, rows: Sequence[Arm]) -> None:
        """Answer from the ledger what can be answered, and train the rest."""
        work = self.work
        known = {row.experiment.digest() for row in work.proposed}
        work.proposed += rows
        new = [arm for arm in distinct(rows) if arm.key not in known]
        missing = [arm for arm in new if not self._answer_from_ledger(arm)]
        if missing:
            for pack in place_packs(compile_packs(missing, work.sweep.spec, work.plan_of), work):
                self._train(pack)

    def _answer_from_ledger(self, arm: Arm) -> bool:
        work = self.work
        run = completed_arms(work.record.store, work.record.key, [arm], fingerprint=work.fingerprint).get(arm.key)
        if run is None:
            return False
        if not run.is_in_sweep(work.record.key):
            work.record.copy_result(arm, run, swept_by_arm([arm])[arm.key])
        self.tell({arm.short_key: run})
        return True

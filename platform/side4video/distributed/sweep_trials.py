"""Virtual trials and packs side by side on one cluster, until all arms have ended."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from side4video.core.errors import InputError, Interrupted, Side4VideoError
from side4video.distributed.hub import Hub
from side4video.distributed.sweep_packs import PackJob, SweepWork, pack_jobs
from side4video.planning.packs import compile_packs
from side4video.spec.arms import Arm, Row, distinct, short_key
from side4video.spec.sweep import AshaScheduler
from side4video.tracking.journal import STATE_TAG
from side4video.tracking.ledger import curve
from side4video.tracking.search import StoredRun
from side4video.tracking.settled import settled_arms
from side4video.tracking.sweep_record import swept_by_arm

LOOK_SECONDS = 0.5
"""How often the driver looks whether a pack or the trials failed, and listens to Ctrl-C."""


def _show_and_note(show: Callable[[dict[str, Any]], None], message: dict[str, Any], begun: threading.Event) -> None:
    """Pass a message on, and note when the first pack is at work, or has failed."""
    if "pack" in message and message["phase"] not in ("opening the records", "starting the workers"):
        begun.set()
    show(message)


class SweepTrials:
    """The Ray side of a sweep."""

    def __init__(self, ray: Any, work: SweepWork) -> None:
        """Begin the hub on a connected cluster."""
        self.ray, self.work = ray, work
        self.hub_name = f"side4video-hub-{uuid.uuid4().hex[:8]}"
        spec = work.sweep.spec
        # On the driver's own node: the hub must not go with another one.
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.hub: Any = (
            ray.remote(num_cpus=0)(Hub)
            .options(name=self.hub_name, scheduling_strategy=here)
            .remote(
                spec.decides,
                metric=spec.metric,
                mode=spec.mode,
                reduction=spec.scheduler.reduction if isinstance(spec.scheduler, AshaScheduler) else 0.0,
            )
        )
        self._told: list[str] = []
        self._batch: dict[int, Row] = {}
        self._proposals: dict[int, tuple[Row, ...]] = {}
        self._count = 0
        self._failure: BaseException | None = None
        self._is_over = False
        self._packs = ThreadPoolExecutor(work.sweep.spec.limits.parallel_packs, thread_name_prefix="pack")
        self._futures: list[Future[None]] = []

    def tell(self, runs: Mapping[str, StoredRun]) -> None:
        """Give the hub what arms measured before, epoch by epoch, and how they ended: their runs, by short key."""
        rounds: dict[int, dict[str, dict[str, float]]] = {}
        for name, run in runs.items():
            for each in curve(self.work.record.store, run.run_id, self.work.sweep.spec.metric):
                rounds.setdefault(each.epoch, {})[name] = each.metrics
        states = {name: run.tags[STATE_TAG] for name, run in runs.items()}
        for epoch in sorted(rounds):
            self.ray.get(self.hub.tell.remote(epoch, rounds[epoch]))
        self.ray.get(self.hub.end.remote(states))
        self._told += [name for name in states if name not in self._told]

    def run(self, jobs: Sequence[PackJob]) -> None:
        """Train the packs while their trials report; ends when all have ended.

        Raises:
            Side4VideoError: If the trials failed; a pack that fails fails its own arms.
        """
        show, begun = self.work.show, threading.Event()
        self.work.show = lambda message: _show_and_note(show, message, begun)
        for job in jobs:
            self._submit(job)
        arms = [*self._told, *(arm.short_key for job in jobs for arm in job.arms)]
        if self.work.sweep.spec.optuna or not jobs:
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
            show({"phase": "ending the trials"})
        finally:
            self._is_over = True
            self._packs.shutdown(wait=False, cancel_futures=True)
            self.ray.kill(self.hub)

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
                hub_name=self.hub_name,
                hub=self.hub,
                arms=arms,
                batch=self.work.sweep.batch,
                proposed=self._take_proposal,
            )
        except BaseException as error:
            self._failure = error

    def _submit(self, job: PackJob) -> None:
        self._futures.append(self._packs.submit(self._train, job))

    def _train(self, job: PackJob) -> None:
        states = self.work.train_on_ray(job, hub=self.hub)
        if self._is_over:
            return  # a call of Ray would start a cluster of its own now
        reason = next((self.work.failures[arm.key] for arm in job.arms if arm.key in self.work.failures), "")
        try:
            self.ray.get(self.hub.end.remote(states, reason))
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
            self.hub.end.remote({name: "failed"}, str(error))
            self.work.show({"phase": "refused", "reason": str(error)})
        total = (spec.optuna.arms if spec.optuna else 0) * spec.seeds
        if self._count % (self.work.sweep.batch * spec.seeds) == 0 or self._count == total:
            batch, self._batch = self._batch, {}
            self._futures.append(self._packs.submit(self._begin_batch, [batch[place] for place in sorted(batch)]))
        return name

    def _begin_batch(self, rows: Sequence[Row]) -> None:
        """Answer from the ledger what can be answered, and train the rest."""
        work = self.work
        known = {row.experiment.digest() for row in work.proposed}
        work.proposed += rows
        new = [arm for arm in distinct(rows) if arm.key not in known]
        missing = [arm for arm in new if not self._answer_from_ledger(arm)]
        if missing:
            for job in pack_jobs(compile_packs(missing, work.sweep.spec, work.plan_of), work):
                self._train(job)

    def _answer_from_ledger(self, arm: Arm) -> bool:
        work = self.work
        settled = settled_arms(work.record.store, work.record.key, [arm], fingerprint=work.fingerprint).get(arm.key)
        if settled is None:
            return False
        if not settled.is_own:
            work.record.adopt(arm, settled.run, swept_by_arm([arm])[arm.key])
        self.tell({arm.short_key: settled.run})
        return True

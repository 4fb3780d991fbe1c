"""Runs the endless passes of a sweep on one cluster, with Ray Tune's trials beside them."""

import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from side4video.core.progress import Progress
from side4video.distributed.cluster import nodes_of
from side4video.distributed.pass_workers import PassOnWorkers
from side4video.distributed.results_actor import ResultsActor
from side4video.distributed.train import SweepFeedback, train_on_ray
from side4video.runs.endless_pass import EndlessPass, store_requests
from side4video.runs.packs import SweepRun
from side4video.spec.resources import resources_text, worker_resources

POLL_SECONDS = 1.0
"""How often the driver looks for requests from outside, and for failures."""


class PassTrials:
    """The passes of a sweep, one after another, in a thread; virtual trials in another one."""

    def __init__(self, ray: Any, sweep_run: SweepRun) -> None:
        """Start the results actor on a connected cluster."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray, self.sweep_run = ray, sweep_run
        self.name = f"side4video-hub-{uuid.uuid4().hex[:8]}"
        # On the driver's node, so that the actor does not die with another node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0)(ResultsActor)
        self.results_actor: Any = actor.options(name=self.name, scheduling_strategy=here).remote(False)
        self._failure: BaseException | None = None

    def run(self, passes: Sequence[EndlessPass]) -> None:
        """Train the passes while the trials report, until all have ended.

        Raises:
            Side4VideoError: A pass failed in a way that ends the sweep.
        """
        trials = threading.Thread(target=self._show, name="trials", daemon=True)
        training = threading.Thread(target=self._train_all, args=(passes,), name="passes", daemon=True)
        store, parent = self.sweep_run.sweep_logger.store, self.sweep_run.sweep_logger.parent
        shared = passes[0].shared
        requests = shared.news if shared else store_requests(store, parent)
        self.ray.get(self.results_actor.set_requests.remote(requests()))
        training.start()
        trials.start()
        try:
            # Ray Tune runs in another thread, because it would handle Ctrl-C itself in the main thread.
            while training.is_alive():
                self.ray.get(self.results_actor.set_requests.remote(requests()))
                training.join(POLL_SECONDS)
            if self._failure is not None:
                raise self._failure
            self.sweep_run.progress.report("ending the trials")
            self.ray.get(self.results_actor.close.remote())
            trials.join(60)
        finally:
            self.ray.kill(self.results_actor)

    def _show(self) -> None:
        from side4video.distributed.pass_tune import show_trials

        at_once = self.sweep_run.sweep.spec.limits.virtual_trials
        try:
            show_trials(results_actor_name=self.name, results_actor=self.results_actor, at_once=at_once)
        except Exception as error:  # trials only show what the pass does
            self.sweep_run.progress.report(f"Ray Tune's trials ended: {error}")

    def _train_all(self, passes: Sequence[EndlessPass]) -> None:
        try:
            for each in passes:
                self._train(each)
        except BaseException as error:
            self._failure = error

    def _train(self, endless: EndlessPass) -> None:
        def train(search: Any, logger: Any, progress: Progress) -> None:  # noqa: ARG001 - on a worker
            cluster, nodes = endless.base.cluster, nodes_of(self.ray)
            resources = worker_resources(cluster, nodes)
            progress.report(resources_text(resources, nodes, workers=cluster.workers_text))
            left = None
            if self.sweep_run.deadline is not None:
                left = time.time() + self.sweep_run.deadline - time.monotonic()
            folder, _, name = endless.folder.rpartition("/")
            member = endless.shared.member if endless.shared else ""
            seats = PassOnWorkers(endless.document(logger.classes), left, member)
            train_on_ray(
                {"base": endless.base},
                logger,
                storage=folder,
                name=name,
                progress=progress,
                resources=resources,
                sweep=SweepFeedback(self.results_actor, endless.sweep.spec.metric, seats=seats),
            )

        self.sweep_run.train_pass(endless, train)

"""Trains on Ray: one run, or the packs of a sweep with one Ray Tune trial per arm."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from side4video.core import signals
from side4video.core.progress import Progress
from side4video.distributed.cluster import RayCluster
from side4video.runs.launch import launch
from side4video.runs.run_result import RunResult
from side4video.runs.trainer import Trained, tell_resources
from side4video.spec.arm import short_key
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.spec.resources import resources_text, worker_resources
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import CHECKPOINTS_TAG

if TYPE_CHECKING:
    from side4video.planning.packs import PlannedPack
    from side4video.runs.endless_pass import EndlessPass
    from side4video.runs.packs import SweepRun


class RayTrainer:
    """Trains on a Ray cluster (`runs.trainer.Trainer`). Making one imports no Ray; `start` does."""

    can_stop_arms = True

    def __init__(self, address: str, needed: ClusterSpec) -> None:
        """Nothing starts yet.

        For `address` see `RayCluster`; `needed` are the required resources.
        """
        self.cluster = RayCluster(address, needed)

    @property
    def is_on_this_machine(self) -> bool:
        """See `Trainer`."""
        return self.cluster.address == "local"

    def __enter__(self) -> Self:
        self.cluster.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.cluster.__exit__(*error)

    def start(self) -> None:
        """See `Trainer`."""
        self.cluster.start()

    def train(
        self,
        experiments: Mapping[str, Experiment],
        pack_logger: PackLogger,
        *,
        checkpoint_folder: str,
        progress: Progress,
    ) -> Trained:
        """See `Trainer`.

        Raises:
            Side4VideoError: If the workers failed for good.
        """
        self._connect(progress)
        from side4video.distributed.train import train_on_ray

        cluster, nodes = next(iter(experiments.values())).cluster, self.cluster.nodes()
        resources = worker_resources(cluster, nodes)
        tell_resources(pack_logger, progress, resources_text(resources, nodes, workers=cluster.workers_text))
        progress.report("starting the workers")
        folder, _, name = checkpoint_folder.rpartition("/")
        return train_on_ray(experiments, pack_logger, storage=folder, name=name, progress=progress, resources=resources)

    def train_packs(
        self, sweep_run: "SweepRun", packs: "Sequence[PlannedPack]", completed: Mapping[str, StoredRun]
    ) -> None:
        """See `Trainer`.

        A thread of the driver waits for the workers of each pack. Each arm is a virtual trial of Ray Tune, which trains
        nothing and reports the metrics of its student.

        Raises:
            Side4VideoError: If the trials failed.
        """
        ray = self._connect(sweep_run.progress, *(spec.cluster for pack in packs for spec in pack.experiments.values()))
        from side4video.distributed.sweep_trials import SweepTrials

        trials = SweepTrials(ray, sweep_run)
        if sweep_run.sweep.spec.uses_epoch_results:
            for runs in _by_pack(completed):
                trials.replay({short_key(key): run for key, run in runs.items()})
        trials.run(packs)

    def train_passes(self, sweep_run: "SweepRun", passes: "Sequence[EndlessPass]") -> None:
        """See `Trainer`.

        Raises:
            Side4VideoError: If a pass failed in a way that ends the sweep.
        """
        ray = self._connect(sweep_run.progress, *(each.base.cluster for each in passes))
        from side4video.distributed.pass_trials import PassTrials

        PassTrials(ray, sweep_run).run(passes)

    def _connect(self, progress: Progress, *needed: ClusterSpec) -> Any:
        progress.report(self.cluster.phase)
        ray = self.cluster.connected(*needed)
        signals.reinstall_handler()
        return ray


def _by_pack(completed: Mapping[str, StoredRun]) -> list[dict[str, StoredRun]]:
    """Completed arms by pack, in the order in which they were trained."""
    packs: dict[str, dict[str, StoredRun]] = {}
    for key, run in sorted(completed.items(), key=lambda pair: (pair[1].start_ms, pair[0])):
        packs.setdefault(run.tags.get(CHECKPOINTS_TAG, key), {})[key] = run
    return list(packs.values())


def launch_on_ray(
    experiments: Mapping[str, Experiment], *, progress: Progress, address: str = "local", resume: bool = False
) -> dict[str, RunResult]:
    """`runs.launch.launch` on a Ray cluster; `local` starts one on this machine."""
    trainer = RayTrainer(address, next(iter(experiments.values())).cluster)
    return launch(experiments, progress=progress, trainer=trainer, resume=resume)

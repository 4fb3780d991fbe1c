"""The `Trainer` protocol for training packs, and the trainer in this process (on Ray: `distributed.trainer`)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.progress import Progress
from side4video.core.temporary import temporary_folder
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.spec.resources import Node, WorkerResources, resources_text, usable_cores, worker_resources
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.tags import RESOURCES_TAG

if TYPE_CHECKING:
    from side4video.engine.epoch_callback import Report
    from side4video.planning.packs import PlannedPack
    from side4video.run import RunContext
    from side4video.runs.endless_pass import EndlessPass
    from side4video.runs.packs import SweepRun
    from side4video.tracking.run_store import StoredRun

Trained = tuple[dict[str, dict[str, Any]], Path | None]
"""The result of each student, and the folder of the last checkpoint."""


class Trainer(Protocol):
    """Trains packs. It is a context manager that ends what it started."""

    can_stop_arms: bool
    """Whether schedulers and Optuna can decide on arms while they train."""

    @property
    def is_on_this_machine(self) -> bool:
        """Whether all workers are on this machine, and read its files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def start(self) -> None:
        """Start a cluster in the background.

        Raises:
            InputError: If it does not have the resources for the workers.
        """
        ...

    def train(
        self,
        experiments: Mapping[str, Experiment],
        pack_logger: PackLogger,
        *,
        checkpoint_folder: str,
        progress: Progress,
    ) -> Trained:
        """Train experiments as one pack.

        `checkpoint_folder` is a folder or URI; training resumes from the newest checkpoint there.
        """
        ...

    def train_packs(
        self, sweep_run: "SweepRun", packs: "Sequence[PlannedPack]", completed: "Mapping[str, StoredRun]"
    ) -> None:
        """Train the packs of a sweep.

        Each pack has its folder. `completed` are finished runs of other arms, by key; schedulers and Optuna use their
        results.
        """
        ...

    def train_passes(self, sweep_run: "SweepRun", passes: "Sequence[EndlessPass]") -> None:
        """Train the endless passes of a sweep with seats, one after another."""
        ...


class LocalTrainer:
    """Trains in this process, as one worker, one pack after the other."""

    can_stop_arms = False
    is_on_this_machine = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(self) -> None:
        """Do nothing: this process is ready."""

    def train(
        self,
        experiments: Mapping[str, Experiment],
        pack_logger: PackLogger,
        *,
        checkpoint_folder: str,
        progress: Progress,
        resume_from: Sequence[Path] = (),
    ) -> Trained:
        """See `Trainer`. If the folder has no checkpoint, it resumes from `resume_from`, newest first.

        Raises:
            InputError: If there is no GPU but the spec needs one, or `checkpoint_folder` is a URI.
            Interrupted: If this process was asked to stop, after it has saved a checkpoint.
        """
        from side4video.engine.checkpoint import checkpoints_in
        from side4video.run import run

        place = _LocalPlace(next(iter(experiments.values())).cluster, checkpoint_folder)
        tell_resources(pack_logger, progress, place.text)
        with temporary_folder() as scratch:
            results = run(
                experiments,
                place.context(
                    scratch,
                    progress,
                    logs=lambda report, _: pack_logger.log(report.metrics, report.notes),
                    fails=pack_logger.fail,
                    resume_from=resume_from,
                ),
            )
        folder = next(iter(checkpoints_in(Path(checkpoint_folder))), None)
        return {name: asdict(result) for name, result in results.items()}, folder

    def train_packs(
        self,
        sweep_run: "SweepRun",
        packs: "Sequence[PlannedPack]",
        completed: "Mapping[str, StoredRun]",  # noqa: ARG002 - nothing here decides on arms
    ) -> None:
        """See `Trainer`."""
        for pack in packs:

            def train(pack_logger: PackLogger, progress: Progress, pack: "PlannedPack" = pack) -> Trained:
                return self.train(
                    pack.experiments,
                    pack_logger,
                    checkpoint_folder=pack.folder,
                    progress=progress,
                    resume_from=pack.resume_from,
                )

            sweep_run.train(pack, train)

    def train_passes(self, sweep_run: "SweepRun", passes: "Sequence[EndlessPass]") -> None:
        """See `Trainer`."""
        from side4video.arm_search.shared_search import SharedSearch, leaves_when_over
        from side4video.run_with_seats import run_with_seats

        for each in passes:

            def train(search: Any, logger: Any, progress: Progress, each: Any = each) -> None:
                place = _LocalPlace(each.base.cluster, each.folder)
                progress.report(place.text)

                def fails(reason: str) -> None:
                    logger.fail_open(reason, killed=False)

                with temporary_folder() as scratch:
                    context = place.context(scratch, progress, logs=logger.take, fails=fails)
                    if isinstance(search, SharedSearch):
                        context = replace(context, stop_request=leaves_when_over(search, context.stop_request))
                    run_with_seats(each.base, search, context)

            sweep_run.train_pass(each, train)


class _LocalPlace:
    """This process as the only worker of a run, and a folder for its checkpoints."""

    def __init__(self, cluster: ClusterSpec, checkpoint_folder: str) -> None:
        """Check that the run fits here.

        Raises:
            InputError: It does not.
        """
        nodes = (this_machine(),)
        self.resources = worker_resources(cluster, nodes, workers=(1, 1))
        self.process = only_process(cluster, self.resources, checkpoint_folder)
        alone = f"; the document asks for {cluster.workers_text} workers, and this process trains as one"
        self.text = resources_text(self.resources, nodes, workers="1") + alone * (cluster.max_workers > 1)
        self.folder, self.max_checkpoints = Path(checkpoint_folder), cluster.keep_checkpoints

    def context(
        self,
        scratch: Path,
        progress: Progress,
        *,
        logs: "Callable[[Report, Path | None], None]",
        fails: Callable[[str], object],
        resume_from: Sequence[Path] = (),
    ) -> "RunContext":
        """What a run gets. `logs` takes each report and the newest checkpoint; `fails` a reason to end at once."""
        from side4video.engine.checkpoint import checkpoints_in, keep_checkpoint
        from side4video.engine.preemption import StopRequest
        from side4video.engine.progress import StepProgress
        from side4video.engine.resume import checkpoint_source
        from side4video.run import RunContext

        def store(report: "Report") -> None:
            if report.checkpoint is not None:
                keep_checkpoint(
                    report.checkpoint, self.folder, step=report.next_step, max_checkpoints=self.max_checkpoints
                )
            logs(report, next(iter(checkpoints_in(self.folder)), None))

        def on_fatal(reason: str) -> None:
            print(f"error: {reason}", file=sys.stderr, flush=True)  # noqa: T201 - the process is about to end
            fails(reason)

        return RunContext(
            self.process,
            scratch,
            store,
            [checkpoint_source(each) for each in (*checkpoints_in(self.folder), *resume_from)],
            StepProgress(progress),
            stop_request=lambda: StopRequest.LEAVE if signals.stop_requested() else StopRequest.NOTHING,
            on_fatal=on_fatal,
            threads=self.resources.cpus,
        )


def tell_resources(pack_logger: PackLogger, progress: Progress, text: str) -> None:
    """Say with which resources a pack trains, and record it."""
    progress.report(text)
    pack_logger.set_tag(RESOURCES_TAG, text)


def this_machine() -> Node:
    """The cores and GPUs of this machine."""
    import torch

    return Node(usable_cores(), torch.cuda.device_count() if torch.cuda.is_available() else 0)


def only_process(cluster: ClusterSpec, resources: WorkerResources, checkpoint_folder: str) -> Any:
    """The process group of this process alone.

    Raises:
        InputError: If the spec needs more than one process or a GPU that is missing.
    """
    import torch

    from side4video.engine.process_group import ProcessGroup

    if "://" in checkpoint_folder:
        raise InputError("cluster.storage", checkpoint_folder, allowed="a folder, with --local", fix="remove --local")
    if cluster.decoding.kind != "beside":
        raise InputError(
            "cluster.decoding", cluster.decoding.kind, allowed="beside, with --local", fix="remove --local"
        )
    wants_gpu = resources.gpus > 0
    if wants_gpu and not torch.cuda.is_available():
        raise InputError(
            "cluster.gpus_per_worker", "the spec needs a GPU, and this machine has none", fix="set it to 0"
        )
    return ProcessGroup(device=torch.device("cuda" if wants_gpu else "cpu"))

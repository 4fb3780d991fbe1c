"""Where packs train: the protocol, and its implementation in this process. Ray's is in `distributed.trainer`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.progress import Progress
from side4video.core.temporary import temporary_folder
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.tracking.pack_logger import PackLogger

if TYPE_CHECKING:
    from side4video.planning.packs import PlannedPack
    from side4video.runs.packs import SweepRun
    from side4video.tracking.run_store import StoredRun

Trained = tuple[dict[str, dict[str, Any]], Path | None]
"""The result of each student, and the folder of the last checkpoint."""


class Trainer(Protocol):
    """Where packs train; a context manager that ends what it started."""

    can_stop_arms: bool
    """Whether schedulers and Optuna can decide on arms while they train."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def start(self) -> None:
        """Begin to start what takes time (a cluster); returns at once.

        Raises:
            InputError: If it can never hold the workers.
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

        Args:
            experiments: By student name.
            pack_logger: Their records.
            checkpoint_folder: Folder or URI for checkpoints; training continues from the newest one there.
            progress: Receives the progress.
        """
        ...

    def train_packs(
        self, sweep_run: "SweepRun", packs: "Sequence[PlannedPack]", completed: "Mapping[str, StoredRun]"
    ) -> None:
        """Train the packs of a sweep.

        Args:
            sweep_run: What the packs share.
            packs: Those that are to train, each with its folder.
            completed: Arms that need not train, by key: what they measured decides on others.
        """
        ...


class LocalTrainer:
    """Trains in this process, as one worker, one pack after the other."""

    can_stop_arms = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(self) -> None:
        """Nothing needs time to start."""

    def train(
        self,
        experiments: Mapping[str, Experiment],
        pack_logger: PackLogger,
        *,
        checkpoint_folder: str,
        progress: Progress,
        resume_from: Sequence[Path] = (),
    ) -> Trained:
        """See `Trainer`; `resume_from` has checkpoints elsewhere, for a place that has none yet."""
        return train_in_process(
            experiments, pack_logger, checkpoint_folder=checkpoint_folder, progress=progress, resume_from=resume_from
        )

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


def train_in_process(
    experiments: Mapping[str, Experiment],
    pack_logger: PackLogger,
    *,
    checkpoint_folder: str,
    progress: Progress,
    resume_from: Sequence[Path] = (),
) -> Trained:
    """Train the experiments as one pack in this process.

    Args:
        experiments: By student name.
        pack_logger: Their records.
        checkpoint_folder: Folder for checkpoints; one that is there already is gone on from.
        progress: Receives the progress.
        resume_from: Checkpoints elsewhere, newest first, to go on from where there is none in the folder.

    Returns:
        The outcome of each student, and the folder of the last checkpoint.

    Raises:
        InputError: If a GPU is asked for that is not there, or the place is no folder.
        Interrupted: If this process was told to end, and has saved.
    """
    from side4video.engine.checkpoint import checkpoints_in, keep_checkpoint
    from side4video.engine.epoch_callback import Report
    from side4video.engine.preemption import StopRequest
    from side4video.engine.progress import StepProgress
    from side4video.engine.resume import checkpoint_source
    from side4video.run import RunContext, run

    cluster = next(iter(experiments.values())).cluster
    process = _only_process(cluster, checkpoint_folder)
    kept = Path(checkpoint_folder)

    def store(report: Report) -> None:
        if report.checkpoint is not None:
            keep_checkpoint(report.checkpoint, kept, step=report.next_step, max_checkpoints=cluster.keep_checkpoints)
        pack_logger.log(report.metrics, report.notes)

    def on_fatal(words: str) -> None:
        print(f"error: {words}", file=sys.stderr, flush=True)  # noqa: T201 - the process ends, and nobody else can say it
        pack_logger.fail(words)

    found = [checkpoint_source(folder) for folder in (*checkpoints_in(kept), *resume_from)]
    with temporary_folder() as scratch:
        results = run(
            experiments,
            RunContext(
                process,
                scratch,
                store,
                found,
                StepProgress(progress),
                stop_request=lambda: StopRequest.LEAVE if signals.stop_requested() else StopRequest.NOTHING,
                on_fatal=on_fatal,
            ),
        )
    return {name: asdict(result) for name, result in results.items()}, next(iter(checkpoints_in(kept)), None)


def _only_process(cluster: ClusterSpec, checkpoint_folder: str) -> Any:
    """This process as the only worker.

    Raises:
        InputError: If it cannot be that.
    """
    import torch

    from side4video.engine.process_group import ProcessGroup

    if "://" in checkpoint_folder:
        raise InputError(
            "cluster.storage", checkpoint_folder, allowed="a folder, with --local", fix="leave --local out"
        )
    if cluster.decoding.kind != "beside":
        raise InputError(
            "cluster.decoding", cluster.decoding.kind, allowed="beside, with --local", fix="leave --local out"
        )
    wants_gpu = cluster.gpus_per_worker > 0
    if wants_gpu and not torch.cuda.is_available():
        raise InputError("cluster.gpus_per_worker", "a GPU is asked for, and there is none here", fix="set it to 0")
    return ProcessGroup(device=torch.device("cuda" if wants_gpu else "cpu"))

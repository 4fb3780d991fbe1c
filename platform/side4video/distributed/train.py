"""One run on Ray Train: the worker's function, the epoch's way to MLflow, and the driver."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from side4video.core.errors import Side4VideoError
from side4video.core.points import Point
from side4video.data.prefetch import MakePrefetcher, make_prefetcher
from side4video.distributed.board import Board, BoardReader
from side4video.engine.recorder import Judge, Report, stop_nobody
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.tracking.journal import Journal

COLLECTIVE_TIMEOUT_SECONDS = 1800


def work(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each Ray Train worker runs: read the documents, train, report each epoch with its checkpoint."""
    from ray.train.torch import get_device

    from side4video.engine.processes import Process
    from side4video.engine.progress import Narration, silent
    from side4video.run import Surroundings, run

    context = ray.train.get_context()
    process = Process(context.get_world_rank(), context.get_world_size(), get_device())
    experiments = {name: Experiment.model_validate(document) for name, document in config["experiments"].items()}
    board = config["board"]
    narrator = Narration(lambda message: board.post.remote(message)) if process.is_first else silent
    checkpoint = ray.train.get_checkpoint()
    prefetch = _prefetch(next(iter(experiments.values())).cluster)
    judge = _judge(config["hub"], config["metric"]) if config["hub"] else stop_nobody
    # Ray retries whatever fails; a mistake in data or documents would only fail again, after the same wait.
    given_up: Any = ray.get(board.mistake.remote())
    if given_up is not None:
        raise given_up
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        before = Path(config["resume_from"]) if config["resume_from"] else None
        resume_from = Path(checkpoint.to_directory(str(Path(scratch) / "resumed"))) if checkpoint else before
        try:
            outcomes = run(
                experiments,
                Surroundings(process, Path(scratch), _report, resume_from, narrator, judge, prefetch),
            )
        except Side4VideoError as mistake:
            ray.get(board.give_up.remote(mistake))
            raise
    return {name: asdict(outcome) for name, outcome in outcomes.items()}


def _prefetch(cluster: ClusterSpec) -> MakePrefetcher:
    """Where this worker's videos are decoded."""
    if cluster.decoding.kind == "beside":
        return make_prefetcher
    from side4video.distributed.decoding import RayDataPrefetcher

    return partial(RayDataPrefetcher, spec=cluster.decoding)


def _judge(hub: Any, metric: str) -> Judge:
    """Asks the sweep's hub, which asks Ray Tune."""

    def judge(epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        return ray.get(hub.judge.remote(epoch, {name: {metric: each[metric]} for name, each in metrics.items()}))

    return judge


def _report(report: Report) -> None:
    points = {name: [tuple(point) for point in series] for name, series in report.points.items()}
    metrics = {"epoch": report.epoch, "next_step": report.next_step, "points": points}
    checkpoint = Checkpoint.from_directory(str(report.checkpoint)) if report.checkpoint else None
    ray.train.report(metrics, checkpoint=checkpoint)


class JournalCallback(UserCallback):
    """Runs in the controller, once for each epoch that was reported by all workers and is safely stored."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002 - Ray's signature
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,  # noqa: ARG002
    ) -> None:
        """Write the first worker's points; losses in them are already averaged over workers."""
        self.journal.take({name: [Point(*point) for point in series] for name, series in metrics[0]["points"].items()})


@dataclass(frozen=True)
class SweepSide:
    """What a pack knows of the sweep that it belongs to."""

    hub: Any
    """The actor that hears of each epoch and says who is to stop."""
    metric: str
    """What it hears."""
    resume_from: Path | None = None
    """A checkpoint of another pack that held these arms, to go on from."""


def train_on_ray(
    experiments: Mapping[str, Experiment],
    journal: Journal,
    *,
    place: str,
    name: str,
    show: Callable[[dict[str, Any]], None],
    sweep: SweepSide | None = None,
) -> tuple[dict[str, dict[str, Any]], Path | None]:
    """Train the experiments as one pack on the connected cluster.

    Args:
        experiments: By student name.
        journal: Their records.
        place: Storage folder or URI; a run of the same name there is continued from its last checkpoint.
        name: The run's name in the storage.
        show: Gets progress messages.
        sweep: Where the pack's arms report, if it belongs to a sweep.

    Returns:
        The outcome of each student, and the folder of the last checkpoint.

    Raises:
        Side4VideoError: If the workers failed for good.
    """
    cluster = next(iter(experiments.values())).cluster
    board: Any = ray.remote(num_cpus=0)(Board).remote()
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "experiments": {student: spec.resolved() for student, spec in experiments.items()},
            "board": board,
            "hub": sweep.hub if sweep else None,
            "metric": sweep.metric if sweep else "",
            "resume_from": str(sweep.resume_from) if sweep and sweep.resume_from else "",
        },
        scaling_config=_scaling(cluster),
        torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_SECONDS),
        run_config=RunConfig(
            name=name,
            storage_path=place,
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=cluster.keep_checkpoints),
            callbacks=[JournalCallback(journal)],
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    with BoardReader(ray, board, show):
        try:
            result = trainer.fit()
        except (ray.train.TrainingFailedError, ray.exceptions.RayActorError) as error:
            raise _explain(error) from error
        finally:
            ray.kill(board)
    folder = Path(result.checkpoint.path) if result.checkpoint and "://" not in result.checkpoint.path else None
    return result.return_value or {}, folder


def _scaling(cluster: ClusterSpec) -> ScalingConfig:
    gpus = {"GPU": cluster.gpus_per_worker} if cluster.gpus_per_worker else {}
    return ScalingConfig(
        num_workers=cluster.workers,
        use_gpu=bool(gpus),
        resources_per_worker={"CPU": cluster.cpus_per_worker, **gpus},
    )


def _explain(error: BaseException) -> Side4VideoError:
    """The workers' own error where it is one of ours, or what Ray says of it."""
    failures = getattr(error, "worker_failures", {}).values()
    for failure in failures:
        for candidate in (failure, failure.__cause__, getattr(failure, "cause", None)):
            if isinstance(candidate, Side4VideoError):
                return candidate
    return Side4VideoError(f"the workers failed: {_cause(error)}")


def _cause(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

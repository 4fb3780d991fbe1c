"""One run on Ray Train: the workers' function, the callback that logs each epoch, and the driver."""

import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from side4video.core.errors import Interrupted, Side4VideoError, WorkerInterrupted
from side4video.core.metric import Metric
from side4video.core.progress import MessageProgress, Progress
from side4video.core.temporary import temporary_folder
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.distributed.command_folder import CommandFolder
from side4video.distributed.pass_workers import PassLoggerCallback, PassOnWorkers
from side4video.distributed.plugin_files import PluginFiles
from side4video.distributed.progress_actor import ProgressActor, ProgressReader
from side4video.distributed.shared_weights import get_weights, put_weights
from side4video.distributed.storage import recover_storage, report_to_ray
from side4video.distributed.worker import PreemptionMonitor, SignalAwareTorchConfig, checkpoint_sources
from side4video.engine.epoch_callback import EarlyStopper, never_stop
from side4video.runs.pass_logger import PassLogger
from side4video.runs.shared_logger import SharedPassLogger
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment
from side4video.spec.resources import WorkerResources
from side4video.tasks.metrics import epoch_metric
from side4video.tracking.pack_logger import PackLogger

log = logging.getLogger(__name__)

COLLECTIVE_TIMEOUT_SECONDS = 1800
INTERRUPTED = "interrupted, and no student's name"
"""Key of the result of a run that was asked to stop."""


def work(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The function of each Ray Train worker: parse the specs, train, report each epoch with its checkpoint."""
    from ray.train.torch import get_device

    from side4video.engine.process_group import ProcessGroup
    from side4video.engine.progress import NO_PROGRESS, StepProgress
    from side4video.run import RunContext, run

    context = ray.train.get_context()
    process = ProcessGroup(context.get_world_rank(), context.get_world_size(), get_device())
    progress_actor = config["progress_actor"]
    experiments = _parse(config)
    sender = MessageProgress(progress_actor.post.remote)
    progress = StepProgress(sender) if process.is_first else NO_PROGRESS
    prefetch = _prefetch(next(iter(experiments.values())).cluster, config["plugins"])
    seats: PassOnWorkers | None = config["seats"]
    changes_tower = any(not spec.method.packable for spec in experiments.values())
    results_actor = config["results_actor"]
    early_stopper = _early_stopper(results_actor, config["metric"]) if results_actor and not seats else never_stop
    # Ray retries every failure. An error in the data or the spec would fail again, after the same wait.
    failure: Any = ray.get(progress_actor.failure.remote())
    if failure is not None:
        raise failure
    driver_requests_stop = partial(_driver_requests_stop, progress_actor) if process.is_first else None
    monitor = PreemptionMonitor(driver_requests_stop)
    with temporary_folder() as scratch, monitor.running():
        try:
            config["command_folder"].enter(experiments)
            context = RunContext(
                process,
                scratch,
                partial(report_to_ray, checkpoint_folder=config["checkpoint_folder"]),
                checkpoint_sources(scratch, config["resume_from"]),
                progress,
                early_stopper,
                prefetch,
                {key: get_weights(each, is_changed=changes_tower) for key, each in config["towers"].items()},
                stop_request=monitor.stop_request,
                threads=config["threads"],
                on_fatal=lambda reason: ray.get(
                    progress_actor.set_fatal_reason.remote(f"worker {process.rank}: {reason}")
                ),
            )
            if seats is not None:
                seats.train(next(iter(experiments.values())), context, results_actor)
                return {}
            results = run(experiments, context)
        except WorkerInterrupted:
            raise  # Ray restarts the workers from the checkpoint that was just written
        except Interrupted as interruption:
            return {INTERRUPTED: {"reason": str(interruption)}}
        except Side4VideoError as error:
            ray.get(progress_actor.fail.remote(error))
            raise
    return {name: asdict(result) for name, result in results.items()}


def _driver_requests_stop(progress_actor: Any) -> bool:
    return bool(ray.get(progress_actor.stop_requested.remote(), timeout=10))


def _parse(config: dict[str, Any]) -> dict[str, Experiment]:
    """The experiments; a plug-in that cannot be loaded here ends the run, as other errors of the spec do."""
    config["plugins"].allow_here()
    try:
        return {name: parse_experiment(document, source=name) for name, document in config["experiments"].items()}
    except Side4VideoError as error:
        ray.get(config["progress_actor"].fail.remote(error))
        raise


def _prefetch(cluster: ClusterSpec, plugins: PluginFiles) -> PrefetcherFactory:
    """The prefetcher: decodes on this node or on others."""
    if cluster.decoding.kind == "beside":
        return make_prefetcher
    from side4video.distributed.decoding import ray_data_prefetcher

    return partial(ray_data_prefetcher, spec=cluster.decoding, plugins=plugins)


def _early_stopper(results_actor: Any, metric: str) -> EarlyStopper:
    """Asks Ray Tune, through the results actor, which arms to stop: by the validation split, if there is one."""

    def stop(epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        values = {name: {metric: each[epoch_metric(metric, each)]} for name, each in metrics.items()}
        return ray.get(results_actor.decide.remote(epoch, values))

    return stop


class RunLoggerCallback(UserCallback):
    """Logs metrics. Ray calls it in the controller when all workers reported an epoch and its checkpoint is stored."""

    def __init__(self, pack_logger: PackLogger) -> None:
        self.pack_logger = pack_logger

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002 - Ray's signature
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,  # noqa: ARG002
    ) -> None:
        """Log the first worker's metrics; its losses are already averaged over workers."""
        first = metrics[0]
        values = {name: [Metric(*each) for each in series] for name, series in first["points"].items()}
        self.pack_logger.log(values, first["notes"])
        if first.get("is_last"):
            self.pack_logger.hand_over()


@dataclass(frozen=True)
class SweepFeedback:
    """How a pack reports to its sweep."""

    results_actor: Any
    """Takes the metrics of each epoch and returns the arms to stop."""
    metric: str
    """The metric that is sent to it."""
    resume_from: Sequence[Path] = ()
    """Checkpoints of another pack that had these arms, newest first."""
    seats: PassOnWorkers | None = None
    """The endless pass, whose first worker decides itself, and tells the results actor; None for a pack."""


def train_on_ray(
    experiments: Mapping[str, Experiment],
    logger: PackLogger | PassLogger | SharedPassLogger,
    *,
    storage: str,
    name: str,
    progress: Progress,
    resources: WorkerResources,
    sweep: SweepFeedback | None = None,
) -> tuple[dict[str, dict[str, Any]], Path | None]:
    """Train the experiments as one pack on the connected cluster.

    A run of the same name in `storage` resumes from its last checkpoint. `resources` are of each worker. `sweep` says
    how to report to a sweep. With seats in it, the one experiment is the base of an endless pass.

    Returns:
        The result of each student, and the folder of the last checkpoint.

    Raises:
        Side4VideoError: If the workers failed for good.
    """
    cluster = next(iter(experiments.values())).cluster
    resume_from = [*recover_storage(f"{storage}/{name}"), *(sweep.resume_from if sweep else ())]
    progress_actor = _progress_actor()
    config = {
        "experiments": {student: spec.resolved() for student, spec in experiments.items()},
        "command_folder": CommandFolder.current(experiments.values()),
        "plugins": PluginFiles.current(),
        "progress_actor": progress_actor,
        "results_actor": sweep.results_actor if sweep else None,
        "metric": sweep.metric if sweep else "",
        "seats": sweep.seats if sweep else None,
        "resume_from": [str(folder) for folder in resume_from],
        "checkpoint_folder": f"{storage}/{name}",
        "threads": resources.cpus,
        "towers": put_weights(experiments.values()),
    }
    run_config = RunConfig(
        name=name,
        storage_path=storage,
        failure_config=FailureConfig(max_failures=cluster.max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=cluster.keep_checkpoints),
        callbacks=[RunLoggerCallback(logger) if isinstance(logger, PackLogger) else PassLoggerCallback(logger)],
        logging_config=LoggingConfig(log_level="ERROR"),
    )
    logger.hand_over()
    with ProgressReader(ray, progress_actor, progress):
        try:
            result = _fit(config, _scaling(cluster, resources), run_config)
        except (ray.train.TrainingFailedError, ray.exceptions.RayActorError) as error:
            raise _explain(error, progress_actor) from error
        finally:
            ray.kill(progress_actor)
    results = result.return_value or {}
    if INTERRUPTED in results:
        raise Interrupted(results[INTERRUPTED]["reason"])
    folder = Path(result.checkpoint.path) if result.checkpoint and "://" not in result.checkpoint.path else None
    return results, folder


def _progress_actor() -> Any:
    """On the driver's node, so that the actor does not die with another node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor_class: Any = ray.remote(num_cpus=0)(ProgressActor)
    return actor_class.options(scheduling_strategy=here).remote()


def _fit(config: dict[str, Any], scaling: ScalingConfig, run_config: RunConfig) -> Any:
    """Train to the end. Ray restarts workers that die; this restarts Ray Train's controller if that dies."""
    failures = run_config.failure_config.max_failures if run_config.failure_config else 0
    for attempt in range(failures + 1):
        trainer = TorchTrainer(
            work,
            train_loop_config=config,
            scaling_config=scaling,
            torch_config=SignalAwareTorchConfig(timeout_s=COLLECTIVE_TIMEOUT_SECONDS),
            run_config=run_config,
        )
        try:
            with interruptible():
                return trainer.fit()
        except ray.exceptions.RayActorError:
            if attempt == failures:
                raise
            log.warning("Ray Train's controller died; the workers restart from the last checkpoint")
    raise AssertionError("unreachable")


@contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C a `KeyboardInterrupt` in the block, also where Ray Train handles it.

    Its handler ends the workers and then this process, with exit code 1 and no message; and it stays installed.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _scaling(cluster: ClusterSpec, resources: WorkerResources) -> ScalingConfig:
    gpus = {"GPU": resources.gpus} if resources.gpus else {}
    return ScalingConfig(
        num_workers=cluster.workers,
        elastic_resize_monitor_interval_s=60 * cluster.resize_minutes,
        use_gpu=bool(gpus),
        resources_per_worker={"CPU": resources.cpus, **gpus},
    )


def _explain(error: BaseException, progress_actor: Any) -> Side4VideoError:
    """The worker's own error if it is a `Side4VideoError`, else its fatal reason, else Ray's message."""
    failures = getattr(error, "worker_failures", {}).values()
    for failure in failures:
        for candidate in (failure, failure.__cause__, getattr(failure, "cause", None)):
            if isinstance(candidate, Side4VideoError):
                return candidate
    try:
        reason: Any = ray.get(progress_actor.fatal_reason.remote(), timeout=10)
    except (TimeoutError, ray.exceptions.RayError):
        reason = ""
    return Side4VideoError(f"the workers failed: {reason or _cause(error)}")


def _cause(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

"""Runs experiments: plan, create the runs in the store, train, store the results."""

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from side4video.core import signals
from side4video.core.errors import InputError, Interrupted
from side4video.core.paths import expand, home
from side4video.core.progress import Progress
from side4video.data.storage import is_remote
from side4video.runs.trainer import LocalTrainer, Trainer
from side4video.spec.check import check_consistency
from side4video.spec.check_videos import check_experiments
from side4video.spec.experiment import Experiment
from side4video.tracking.pack_logger import find_unfinished, open_pack_logger
from side4video.tracking.tags import CHECKPOINTS_TAG, FINGERPRINT_TAG


@dataclass(frozen=True)
class RunResult:
    """The result of a run. It is printed as JSON with the field names as keys."""

    run_id: str
    name: str
    state: str
    metrics: dict[str, float]
    memory: dict[str, float]
    time: dict[str, float]
    plan: dict[str, Any]
    wall_s: float
    """Seconds from the command to the result, of the whole pack."""
    trainable_parameters: int
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Events such as interruptions."""

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def launch(
    experiments: Mapping[str, Experiment], *, progress: Progress, trainer: Trainer | None = None, resume: bool = False
) -> dict[str, RunResult]:
    """Run experiments to their end as one pack; an ordinary run is a pack of one.

    `experiments` are by student name; they agree on backbone, data, batches and workers. By default they train in this
    process. `resume` continues the newest unfinished run of this experiment.

    Raises:
        InputError: If the specs, the data or the cluster do not fit.
        Side4VideoError: If the training failed.
    """
    started = time.perf_counter()
    check_consistency(experiments)
    base = next(iter(experiments.values()))
    progress = StopSignalProgress(progress)
    with signals.handling_signals(), trainer or LocalTrainer() as active_trainer:
        checkpoint_folder = _checkpoint_folder(base, resume=resume)
        plans = _prepare(experiments, progress, active_trainer)
        progress.report("creating the run")
        fingerprint = base.data.dataset.fingerprint()
        if resume:
            _refuse_other_data(base, fingerprint)
        pack_logger = open_pack_logger(
            experiments, plans=plans, fingerprint=fingerprint, checkpoint_folder=checkpoint_folder, resume=resume
        )
        try:
            results, checkpoint = active_trainer.train(
                experiments, pack_logger, checkpoint_folder=checkpoint_folder, progress=progress
            )
            progress.report("storing the results")
            for name, result in results.items():
                pack_logger.close(name, result, checkpoint)
        except BaseException as error:
            pack_logger.fail(str(error) or type(error).__name__, killed=is_interruption(error))
            raise
    wall = time.perf_counter() - started
    return {
        name: RunResult(
            run_id=pack_logger.run_ids[name],
            name=spec.name,
            plan=plans[name],
            wall_s=wall,
            **{
                key: value
                for key, value in results[name].items()
                if key not in ("backbone_fingerprint", "steps", "steps_trained")
            },
        )
        for name, spec in experiments.items()
    }


def _refuse_other_data(spec: Experiment, fingerprint: str) -> None:
    """Refuse to resume on other data than the run began with: its record would name one data set for both.

    Raises:
        InputError: The data set changed.
    """
    unfinished = find_unfinished(spec)
    before = unfinished.tags.get(FINGERPRINT_TAG, fingerprint) if unfinished else fingerprint
    if before != fingerprint:
        raise InputError(
            "--resume",
            f"the data set changed since the run began: its fingerprint was {before[:12]} and is {fingerprint[:12]}",
            allowed="the same clips, labels, captions and classes, in the same order",
            fix="bring the data back, or run it without --resume as a new run",
        )


def is_interruption(error: BaseException) -> bool:
    """Whether a run was interrupted and can be resumed; else it failed."""
    return isinstance(error, Interrupted) or not isinstance(error, Exception)


class StopSignalProgress:
    """Passes reports on, and tells `core.signals` when training is busy, so that SIGTERM saves a checkpoint first."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `Progress`."""
        if phase in ("training", "storing the results"):
            signals.set_busy(phase == "training")
        self._progress.report(phase, done, total, **details)


def _prepare(experiments: Mapping[str, Experiment], progress: Progress, trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Check files, prepare data, and plan: everything that can fail before workers start.

    The trainer starts in the background during planning.
    """
    check_experiments([(name if len(experiments) > 1 else "", spec) for name, spec in experiments.items()])
    dataset = next(iter(experiments.values())).data.dataset
    progress.report("preparing the data")
    dataset.prepare(lambda done, total: progress.report("preparing the data", done, total))
    progress.report("planning")
    trainer.start()
    from side4video.planning.feature_cache import count_clips
    from side4video.planning.plan import plan_experiment

    classes = len(dataset.classes())
    return {
        name: plan_experiment(spec, classes=classes, clips=count_clips(spec.data)).as_json()
        for name, spec in experiments.items()
    }


def storage_root(spec: Experiment) -> str:
    """The absolute folder or the URI of all runs' checkpoints, without a trailing slash."""
    storage = expand(spec.cluster.storage, "cluster.storage")
    if not storage:
        return str(home() / "runs")
    return storage.rstrip("/") if is_remote(storage) else os.path.abspath(storage)  # noqa: PTH100 - links are kept


def _checkpoint_folder(spec: Experiment, *, resume: bool) -> str:
    """The run's folder for checkpoints, `STORAGE/NAME-HASH-RUN`, or that of the run to resume."""
    if resume:
        unfinished = find_unfinished(spec)
        if unfinished is None or CHECKPOINTS_TAG not in unfinished.tags:
            raise InputError(
                "--resume", f"no unfinished run of {spec.name} with exactly this spec", fix="run it without --resume"
            )
        return unfinished.tags[CHECKPOINTS_TAG]
    return f"{storage_root(spec)}/{spec.name}-{spec.digest()[:8]}-{uuid.uuid4().hex[:8]}"

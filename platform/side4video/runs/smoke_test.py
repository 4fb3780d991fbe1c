"""A short training on the real data that records nothing: it finds in a minute what a run would meet in an hour.

One step, a checkpoint, two steps that resume from it, and the evaluation of one batch of each split. One worker trains
with its share of the batch, so its memory is that of a worker of the run.
"""

import contextlib
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core import signals
from side4video.core.errors import Interrupted, Side4VideoError
from side4video.core.progress import Progress
from side4video.core.temporary import temporary_folder
from side4video.data.listing_once import listing_once
from side4video.spec.check_videos import look_at_experiments
from side4video.spec.check_weights import check_weights
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment
from side4video.spec.resources import resources_text, worker_resources

if TYPE_CHECKING:
    from side4video.engine.epoch_callback import Report
    from side4video.engine.result import TrainingResult
    from side4video.planning.plan import ExperimentPlan

STEPS = 3
_SPLITS = (("val", "validation"), ("eval", "test"))


@dataclass(frozen=True)
class SmokeTest:
    """What a smoke test measured."""

    device: str
    """`cpu` or `cuda`, and how many cores are used."""
    clips: int
    """Training clips of a step, on this worker."""
    step_seconds: float
    """Of the last step, with the wait for its clips."""
    wait_seconds: float
    """The part of it that was spent waiting for clips."""
    steps: int
    """Optimizer steps of the whole run."""
    held_gib: float
    """Memory that a step keeps for its backward pass, GiB."""
    peak_gib: float
    """Largest memory on the GPU, GiB; 0 without a GPU."""
    planned_gib: float
    """The planned peak of a worker, GiB."""
    evaluated: dict[str, int]
    """Videos that were evaluated, by split."""
    checkpoint_bytes: int
    looked_at: str
    """What the data look like."""
    seconds: float

    @property
    def training_seconds(self) -> float:
        """A rough estimate of the training time of the run, without evaluations."""
        return self.steps * self.step_seconds

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "training_seconds": self.training_seconds}


def smoke_test(spec: Experiment, progress: Progress) -> SmokeTest:
    """Train three steps in this process, with a checkpoint and its resumption, and evaluate one batch of each split.

    Raises:
        InputError: If the document, the data, the weights or the machine do not fit.
        Side4VideoError: If training or resuming failed.
    """
    began = time.monotonic()
    progress.report("looking at the data")
    check_weights([spec])
    with listing_once(), signals.handling_signals(), temporary_folder() as scratch:
        looked_at = look_at_experiments([("", spec)]).data
        return _Training(spec, scratch, progress).run(looked_at, began)


def shortened(spec: Experiment) -> Experiment:
    """The experiment with three steps and one worker, which has the share of the batch that a worker of the run has."""
    document = spec.resolved()
    parts = spec.optimization.accumulation * (2 if spec.data.augmentation.mixes_clips else 1)
    share = max(parts, spec.optimization.batch_size // spec.cluster.max_workers // parts * parts)
    document["optimization"] |= {"batch_size": share, "length": {"epochs": 0, "steps": STEPS}}
    document["optimization"]["warmup"] = {"steps": 1}
    document["cluster"] |= {"workers": 1, "decoding": {"kind": "beside"}}
    document["data"]["loader"] |= {"epochs_per_decode": 1}
    document["evaluation"] |= {"early_stopping": None}
    if spec.features.kind == "cached":
        document["features"] = {"kind": "computed", "views": spec.features.pool}
    return parse_experiment(document)


class _Training:
    """The two trainings of a smoke test: up to the checkpoint, and from it."""

    def __init__(self, spec: Experiment, scratch: Path, progress: Progress) -> None:
        from side4video.runs.trainer import only_process, this_machine

        self.spec, self.short, self.scratch, self.progress = spec, shortened(spec), scratch, progress
        nodes = (this_machine(),)
        self.resources = worker_resources(self.short.cluster, nodes, workers=(1, 1))
        self.process = only_process(self.short.cluster, self.resources, str(scratch))
        self.device = resources_text(self.resources, nodes, workers="1")

    def run(self, looked_at: str, began: float) -> SmokeTest:
        """Train, stop, resume, evaluate."""
        first, second = self.scratch / "first", self.scratch / "second"
        with contextlib.suppress(Interrupted):
            self._train(first, until=1)
        if not first.is_dir():
            raise Side4VideoError("smoke test: no checkpoint was written after the first step")
        result = self._train(second, resume_from=first)
        plan = self._plan()
        return SmokeTest(
            device=self.device,
            clips=self.short.optimization.batch_size * self.short.data.repeated_sampling,
            step_seconds=result.time["step_s"],
            wait_seconds=result.time["step_s"] * result.time["data_wait_fraction"],
            steps=self._steps_of_run(),
            held_gib=result.memory["held_for_backward_gib"],
            peak_gib=result.memory.get("peak_gib", 0.0) if self.resources.gpus else 0.0,
            planned_gib=plan.peak_memory_gib,
            evaluated={
                name: int(result.metrics[f"{area}/videos"])
                for area, name in _SPLITS
                if f"{area}/videos" in result.metrics
            },
            checkpoint_bytes=sum(file.stat().st_size for file in second.rglob("*") if file.is_file()),
            looked_at=looked_at,
            seconds=time.monotonic() - began,
        )

    def _train(self, folder: Path, *, until: int = STEPS, resume_from: Path | None = None) -> "TrainingResult":
        """Train up to a step, and copy the last checkpoint to a folder."""
        from side4video.engine.preemption import StopRequest
        from side4video.engine.progress import StepProgress
        from side4video.engine.resume import checkpoint_source
        from side4video.run import RunContext, run

        begun = 0

        def stop_request() -> StopRequest:
            nonlocal begun
            begun += 1
            stops = signals.stop_requested() or begun == until < STEPS
            return StopRequest.LEAVE if stops else StopRequest.NOTHING

        def store(report: "Report") -> None:
            if report.checkpoint is not None:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(report.checkpoint, folder)

        context = RunContext(
            self.process,
            Path(tempfile.mkdtemp(dir=self.scratch)),
            store,
            [checkpoint_source(resume_from)] if resume_from else [],
            StepProgress(self.progress),
            stop_request=stop_request,
            threads=self.resources.cpus,
            evaluated_clips=self.short.evaluation.batch_size,
        )
        return run({"smoke-test": self.short}, context)["smoke-test"]

    def _plan(self) -> "ExperimentPlan":
        from side4video.planning.plan import plan_experiment

        self.progress.report("planning")
        return plan_experiment(self.spec, classes=len(self.spec.data.listed.classes()))

    def _steps_of_run(self) -> int:
        from side4video.planning.feature_cache import count_clips

        counts, optimization = count_clips(self.spec.data), self.spec.optimization
        per_epoch = max(1, (counts.train if counts else 0) // optimization.batch_size)
        return max(1, optimization.length.in_steps(per_epoch))

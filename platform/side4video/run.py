"""Train specs as one pack, in this process and its process group. Uses neither Ray nor MLflow.

The caller passes the process group and a `report` function, which receives all results and checkpoints.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from side4video.core.progress import SILENT, Progress
from side4video.core.seeds import derive_seed, seeded
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Split
from side4video.data.listing_once import listing_once
from side4video.data.streams.loader import EvaluationStream
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.engine.epoch_callback import EarlyStopper, EpochCallback, Report, never_stop
from side4video.engine.evaluate import Evaluation, evaluate
from side4video.engine.final_test import FinalTest
from side4video.engine.loop import train
from side4video.engine.memory import reset_peak
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.pack import EvaluationBatches, FrozenPass, Pack
from side4video.engine.preemption import CheckpointTimer, StopRequest, no_stop_request
from side4video.engine.process_group import ProcessGroup
from side4video.engine.progress import NO_PROGRESS, CountedBatches, TrainingProgress
from side4video.engine.result import TrainingResult, constant_metrics, training_result
from side4video.engine.resume import CheckpointSource, resume
from side4video.engine.step import Plan, dry_run
from side4video.engine.student import Student
from side4video.engine.watchdog import Watchdog, WatchedBatches, WatchedProgress
from side4video.models.backbones.weights import RandomWeights
from side4video.models.frozen_features import features_of_batch
from side4video.models.layers.norm import synchronize_norms
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import TowerWeights
from side4video.models.towers.text_tower import TextFeatures
from side4video.run_start import WeightChanges, load_start, load_trained
from side4video.run_streams import EvaluatedSplit, RunStreams
from side4video.spec.check import by_backbone, check_pack, check_sentences
from side4video.spec.experiment import Experiment
from side4video.spec.resources import usable_cores
from side4video.tasks.context import TaskContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What the caller provides for a run."""

    process: ProcessGroup
    scratch: Path
    """Folder for checkpoints; the report function must copy them before it returns."""
    report: Callable[[Report], None]
    resume_from: Sequence[CheckpointSource] = ()
    """Checkpoints, newest first; the run resumes from the first that is complete."""
    progress: TrainingProgress = NO_PROGRESS
    early_stopper: EarlyStopper = never_stop
    """Stops students at the end of an epoch."""
    prefetch: PrefetcherFactory = make_prefetcher
    """Builds the prefetcher, which decides where videos are decoded."""
    weights: Mapping[str, TowerWeights] = field(default_factory=dict)
    """Towers' weights that are in memory already, by `Experiment.backbone_key`; others are read."""
    stop_request: Callable[[], StopRequest] = no_stop_request
    """Called after each step: whether this worker has to save a checkpoint or stop."""
    on_fatal: Callable[[str], None] = log.error
    """Called with the reason before the watchdog ends this process."""
    every_steps: int = 10
    """Optimizer steps that are averaged into one logged value."""
    threads: int = 0
    """Threads of torch; 0: as the spec says."""
    evaluated_clips: int | None = None
    """Evaluate only so many clips of each split; None: all."""


def run(experiments: Mapping[str, Experiment], context: RunContext) -> dict[str, TrainingResult]:
    """Train and evaluate the experiments as one pack: one data stream, a student each; those of one backbone share it.

    Args:
        experiments: By student name. They must agree on all that the batches depend on (data, batch size, length,
            workers); an ordinary run is a pack of one.
        context: The worker, and where its results go.

    Returns:
        The result of each student, the same on every worker.

    Raises:
        InputError: If data or weights do not match the specs, or a method that changes the tower shares a pack.
        Side4VideoError: If every student diverged.
    """
    check_pack(experiments)
    base = next(iter(experiments.values()))
    with listing_once(), Watchdog(base.cluster.step_timeout_minutes, context.on_fatal) as watchdog:
        watched = replace(context, progress=WatchedProgress(context.progress, watchdog))
        return _run(experiments, watched, watchdog)


def _run(experiments: Mapping[str, Experiment], context: RunContext, watchdog: Watchdog) -> dict[str, TrainingResult]:
    base, process = next(iter(experiments.values())), context.process
    started = time.perf_counter()
    configure_process(base, process, threads=context.threads)
    context.progress.report("loading the backbone")
    towers = build_towers(experiments, process, context.weights)
    base.data.listed.prepare()
    students, pack = _new_pack(experiments, process, towers)
    tower = next(iter(towers.values()))  # features are cached of one backbone only
    with _streams(base, context, tower, pack) as streams:
        training, cached = streams.training, streams.cached
        steps = base.optimization.length.in_steps(training.steps_per_epoch)
        plan = Plan(max(1, steps), training.steps_per_epoch, training.shares)
        context.progress.report("testing a step")
        weights = [tensor for each in towers.values() for tensor in (*each.parameters(), *each.buffers())]
        stored = cached.blank(base, process) if cached else None
        held = dry_run(pack, mock_video(base, process), stored, resident=() if cached else weights)
        metrics_logger = MetricsLogger(process, every_steps=context.every_steps)

        def evaluate_on(split: EvaluatedSplit, some: list[Student]) -> dict[str, Evaluation]:
            batches, told = WatchedBatches(split.stream, watchdog), context.progress.report
            return evaluate_on_stream(some, pack, batches, videos=split.videos, spec=base, report_progress=told)

        final_test = final_test_of(base, partial(evaluate_on, streams.testing)) if streams.validation else None
        epoch_callback = EpochCallback(
            pack,
            metrics_logger,
            evaluate=partial(evaluate_on, streams.validation or streams.testing),
            final_test=final_test,
            every_epochs=base.evaluation.every_epochs,
            identity=_identity(experiments, towers, process),
            scratch=context.scratch,
            report=context.report,
            constants={name: constant_metrics(student, held[name]) for name, student in students.items()},
            early_stopper=context.early_stopper,
            broken=lambda: [broken_row(report) for report in streams.broken()],
        )
        position = resume(context.resume_from, students, epoch_callback)
        if base.cluster.is_elastic and not position.next_step:
            epoch_callback.notes.append(f"began with {process.world} of {base.cluster.workers_text} workers")
        if cached:
            cached.make(process, context.progress)
        context.progress.begin(plan.steps, position.next_step)
        reset_peak(process.device)
        checkpoint_timer = CheckpointTimer(epoch_callback, context.stop_request, base.cluster.checkpoint_minutes)
        train(
            pack,
            training,
            plan=plan,
            callbacks=[metrics_logger, epoch_callback, context.progress],
            first_step=position.next_step,
            is_open=position.is_open,
            checkpoint_timer=checkpoint_timer,
        )
        context.progress.end()
        elapsed, fingerprints = time.perf_counter() - started, _fingerprints(experiments, towers)
        return {
            name: training_result(student, epoch_callback, plan, fingerprints[name], (held[name], elapsed))
            for name, student in students.items()
        }


def _streams(spec: Experiment, context: RunContext, tower: FrozenTower, pack: Pack) -> RunStreams:
    clips = context.evaluated_clips
    return RunStreams(spec, context.process, context.prefetch, tower, pack, evaluated_clips=clips)


def _fingerprints(experiments: Mapping[str, Experiment], towers: Mapping[str, FrozenTower]) -> dict[str, str]:
    """The fingerprint of each student's tower."""
    return {name: towers[spec.backbone_key].fingerprint() for name, spec in experiments.items()}


def _identity(
    experiments: Mapping[str, Experiment], towers: Mapping[str, FrozenTower], process: ProcessGroup
) -> dict[str, Any]:
    """What a checkpoint stores to check that a resumed run is the same experiment."""
    return {
        "backbones": _fingerprints(experiments, towers),
        "digests": {name: spec.digest() for name, spec in experiments.items()},
        "kin": {name: spec.digest(ignore_workers=True) for name, spec in experiments.items()},
        "others": {name: [*spec.digests(), *spec.digests(ignore_workers=True)] for name, spec in experiments.items()},
        "world": process.world,
    }


def configure_process(spec: Experiment, process: ProcessGroup, *, threads: int = 0) -> None:
    """Set the process-wide settings that results depend on: the number of threads, and flushing of denormals.

    Without `threads`, they are as many as the spec says, or as many as there are cores. Weight decay makes unused
    weights denormal, and a CPU computes with those about a hundred times slower.
    """
    cores = spec.cluster.cpus_per_worker
    torch.set_num_threads(threads or (usable_cores() if cores == "auto" else cores))
    if process.device.type == "cpu":
        torch.set_flush_denormal(True)


def build_towers(
    experiments: Mapping[str, Experiment], process: ProcessGroup, weights: Mapping[str, TowerWeights] | None = None
) -> dict[str, FrozenTower]:
    """The towers of the experiments, by `Experiment.backbone_key`, in the order in which they first occur.

    `weights` are those that are in memory already.

    Raises:
        InputError: Weights are missing, unreadable or another tower's.
    """
    backbones = {spec.backbone_key: spec.backbone for spec in experiments.values()}
    return {key: each.build(str(process.device), (weights or {}).get(key)) for key, each in backbones.items()}


def build_pack(
    experiments: Mapping[str, Experiment],
    process: ProcessGroup,
    towers: Mapping[str, FrozenTower],
    *,
    blank_texts: Collection[str] = (),
) -> tuple[dict[str, Student], Pack]:
    """The students of the experiments, and their pack; `blank_texts` are those of `build_student`."""
    students = {
        name: build_student(name, spec, process, towers[spec.backbone_key], blank_texts=name in blank_texts)
        for name, spec in experiments.items()
    }
    members = by_backbone(experiments)
    passes = [
        FrozenPass(partial(features_of_batch, tower), [students[name] for name in members[key]])
        for key, tower in towers.items()
    ]
    return students, Pack(passes)


def _new_pack(
    experiments: Mapping[str, Experiment], process: ProcessGroup, towers: Mapping[str, FrozenTower]
) -> tuple[dict[str, Student], Pack]:
    """`build_pack`, with the weights that experiments start from."""
    students, pack = build_pack(experiments, process, towers)
    for name, spec in experiments.items():
        load_start(students[name], spec, towers[spec.backbone_key])
    return students, pack


def build_student(
    name: str,
    spec: Experiment,
    process: ProcessGroup,
    tower: FrozenTower,
    *,
    blank_texts: bool = False,
    heads: Mapping[str, tuple[str, ...]] | None = None,
) -> Student:
    """The student of a spec. Its initial weights depend on the spec's seed alone.

    With `blank_texts`, no weights of the text tower are read: for a student whose own weights hold all of it that it
    needs. `heads` has the classes of each head; None: the data set has them.
    """
    device = str(process.device)
    if heads is None:
        heads = spec.data.listed.heads() if spec.task.kind == "multi-head" else {}
    texts = {
        "encode_texts": partial(spec.backbone.encode_texts, device=device),
        "text_tower": partial(spec.backbone.build_text_tower, device="cpu"),
    }
    context = TaskContext(
        method=spec.method,
        tower=tower,
        frames=spec.data.frames,
        classes=spec.data.listed.classes(),
        mixes_labels=spec.data.augmentation.mixes_clips,
        process=process,
        extra_metrics=spec.plugin_metrics,
        training_captions=lambda: [words for clip in spec.data.listed.clips("train") for words in clip.captions],
        training_labels=lambda: _training_labels(spec),
        heads=heads,
        **(_blank_texts(spec) if blank_texts else texts),
    )
    with seeded(derive_seed(spec.seed, "initial weights")):
        task, module = spec.task.assemble(context)
    if spec.cluster.sync_batch_norm and process.world > 1:
        synchronize_norms(module)
    return Student(
        name=name, module=module, task=task, spec=spec.optimization, seed=spec.seed, reads=spec.reads, process=process
    )


def _blank_texts(spec: Experiment) -> dict[str, Any]:
    """Text towers without pretrained values, as the arguments of `TaskContext`."""
    backbone = spec.backbone.model_copy(update={"weights": RandomWeights()})

    def encode(texts: Sequence[str], *, with_words: bool = False) -> TextFeatures:
        width, words = spec.tower.output_dim, backbone.most_words
        of_words = torch.zeros(len(texts), words, width) if with_words else None
        return TextFeatures(torch.zeros(len(texts), width), torch.zeros(()), of_words)

    return {"encode_texts": encode, "text_tower": partial(backbone.build_text_tower, device="cpu")}


def _training_labels(spec: Experiment) -> list[int | None]:
    clips = spec.data.listed.clips("train")
    return [clips[index].label for index in training_subset(clips, spec.data.train_fraction, spec.data.seed)]


def evaluate_students(
    experiments: Mapping[str, Experiment],
    weights: Mapping[str, Path],
    process: ProcessGroup,
    *,
    split: Split = "test",
    progress: Progress = SILENT,
    backbones: Mapping[str, TowerWeights] | None = None,
    changes: Mapping[str, WeightChanges] | None = None,
) -> tuple[dict[str, Evaluation], list[dict[str, Any]]]:
    """Evaluate the weights of students in one pass over a split. Those of one backbone share it.

    Args:
        experiments: By student name; the data section of the first is used.
        weights: The safetensors file of each student's module.
        process: This worker.
        split: Which clips.
        backbones: By student name, the weights of towers that are in memory; others are read.
        changes: By student name, how its weights differ from the file; others are taken as they are.
        progress: Told how many views of how many are evaluated.

    Returns:
        The evaluations by name, and the clips that could not be read.

    Raises:
        InputError: If there are several students and one changes the tower.
    """
    check_pack(experiments)
    base = next(iter(experiments.values()))
    configure_process(base, process)
    given = backbones or {}
    towers = build_towers(experiments, process, {experiments[name].backbone_key: each for name, each in given.items()})
    base.data.listed.prepare()
    altered = changes or {}
    blank = {name for name in given if not altered.get(name, WeightChanges()).reads_texts}
    students, pack = build_pack(experiments, process, towers, blank_texts=blank)
    for name, student in students.items():
        tower = towers[experiments[name].backbone_key]
        load_trained(student, experiments[name], tower, weights[name], altered.get(name, WeightChanges()))
        student.average = None
    clips = base.data.listed.clips(split)
    for spec in experiments.values():
        check_sentences(spec, {split: clips})
    stream = EvaluationStream(
        base.data, clips, batch_size=base.evaluation.batch_size, rank=process.rank, world=process.world
    )
    batches = CountedBatches(stream, len(clips) * base.data.views.total, progress)
    try:
        results = evaluate_on_stream(
            list(students.values()), pack, batches, videos=len(clips), spec=base, report_progress=progress.report
        )
        return results, [broken_row(report) for report in stream.broken.values()]
    finally:
        stream.close()


def final_test_of(spec: Experiment, evaluate: Callable[[list[Student]], dict[str, Evaluation]]) -> FinalTest:
    """How students end, where a validation split chooses their weights; `evaluate` is on the test split."""
    stopping = spec.evaluation.early_stopping
    return FinalTest(
        evaluate,
        takes_best=spec.evaluation.choose_epoch != "last",
        patience=stopping.patience if stopping else 0,
        least_change=stopping.least_change if stopping else 0.0,
    )


def evaluate_on_stream(
    students: list[Student],
    pack: Pack,
    stream: EvaluationBatches,
    *,
    videos: int,
    spec: Experiment,
    report_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate students of a pack on the clips of a stream, as the spec says. Collective."""
    precision, crops = spec.evaluation.precision, spec.data.views.crops
    return evaluate(
        pack, students, stream, videos=videos, precision=precision, crops=crops, report_progress=report_progress
    )


def mock_video(spec: Experiment, process: ProcessGroup) -> torch.Tensor:
    """Black frames of one micro-batch, for the dry run."""
    size = spec.data.size
    return torch.zeros((spec.clips_per_part, spec.data.frames, 3, size, size), dtype=torch.uint8, device=process.device)


def broken_row(report: Any) -> dict[str, Any]:
    """The report of a clip that could not be read, as JSON values."""
    return {"index": report.index, "path": report.path, "origin": report.origin, "reason": report.reason}

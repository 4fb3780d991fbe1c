"""From documents to trained students, in this process and its process group; without Ray, without MLflow.

The caller says which worker this is, and hands in a `report` function: it gets everything that leaves the run.
"""

import functools
import logging
import operator
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from side4video.core.seeds import derive_seed, seeded
from side4video.data.features.cache import Clips, FeatureCache
from side4video.data.features.store import Missing
from side4video.data.loader import EvaluationStream, TrainingStream
from side4video.data.prefetch import MakePrefetcher, make_prefetcher
from side4video.engine.evaluate import Evaluation, evaluate
from side4video.engine.loop import train
from side4video.engine.memory import reset_peak
from side4video.engine.outcome import Outcome, constants_of, outcome_of
from side4video.engine.pack import EvaluationBatches, Pack
from side4video.engine.pauses import Pauses, Wish, wish_nothing
from side4video.engine.processes import Process
from side4video.engine.progress import Narrator, silent
from side4video.engine.recorder import EpochEnd, Judge, Recorder, Report, stop_nobody
from side4video.engine.resuming import Candidate, resume
from side4video.engine.step import Plan, rehearse
from side4video.engine.student import Student
from side4video.engine.watchdog import Watchdog, Watched, WatchedBatches
from side4video.models.feature_entries import blank_stored, entry_layouts, reads_of, to_stored
from side4video.models.frozen_pass import features_of_batch, frozen_features
from side4video.models.layers.norm import synchronise_norms
from side4video.models.reads import Reads
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import TowerWeights
from side4video.spec.check import check_pack
from side4video.spec.experiment import Experiment
from side4video.tasks.needs import Needs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What the caller provides for a run."""

    process: Process
    scratch: Path
    """Where checkpoints are written; the report function takes them from there before it returns."""
    report: Callable[[Report], None]
    resume_from: Sequence[Candidate] = ()
    """Checkpoints, newest first: the first that is whole is gone on from."""
    narrator: Narrator = silent
    judge: Judge = stop_nobody
    """Stops students at the end of an epoch."""
    prefetch: MakePrefetcher = make_prefetcher
    """Decides where videos are decoded."""
    weights: TowerWeights | None = None
    """The tower's, where they are in memory already; None reads them."""
    wish: Callable[[], Wish] = wish_nothing
    """What this worker wishes between two steps: a checkpoint, or to leave."""
    last_words: Callable[[str], None] = log.error
    """Hears why this process ends, if it hung."""
    every_steps: int = 10
    """Optimizer steps that are averaged into one logged point."""


def run(experiments: Mapping[str, Experiment], surroundings: Surroundings) -> dict[str, Outcome]:
    """Train and evaluate the experiments as one pack: one backbone, one data stream, a student each.

    Args:
        experiments: By student name. They must agree on everything outside the student (backbone, data, batch
            size, length, workers); an ordinary run is a pack of one.
        surroundings: The worker and where its results go.

    Returns:
        What became of each student, the same on every worker.

    Raises:
        InputError: If data or weights are not as the documents say, or a method of several needs a tower of its own.
        Side4VideoError: If every student diverged.
    """
    check_pack(experiments)
    base = next(iter(experiments.values()))
    with Watchdog(base.cluster.step_timeout_minutes, surroundings.last_words) as watchdog:
        watched = replace(surroundings, narrator=Watched(surroundings.narrator, watchdog))
        return _run(experiments, watched, watchdog)


def _run(experiments: Mapping[str, Experiment], surroundings: Surroundings, watchdog: Watchdog) -> dict[str, Outcome]:
    base, process = next(iter(experiments.values())), surroundings.process
    started = time.perf_counter()
    settle(base, process)
    surroundings.narrator.say("loading the backbone")
    tower = base.backbone.build(str(process.device), surroundings.weights)
    base.data.dataset.prepare()
    students = {name: build_student(name, spec, process, tower) for name, spec in experiments.items()}
    pack = Pack(functools.partial(features_of_batch, tower), list(students.values()))
    with _streams(base, surroundings, tower, pack) as (training, testing, videos, kept):
        steps = base.optimization.length.in_steps(training.steps_per_epoch)
        plan = Plan(max(1, steps), training.steps_per_epoch, training.shares)
        surroundings.narrator.say("rehearsing a step")
        beside = () if kept else (*tower.parameters(), *tower.buffers())
        held = rehearse(pack, _mock_video(base, process), kept.blank(base, process) if kept else None, standing=beside)
        recorder = Recorder(process, every_steps=surroundings.every_steps)
        seen, tell = WatchedBatches(testing, watchdog), _teller(surroundings)
        ending = EpochEnd(
            pack,
            recorder,
            evaluate=lambda some: _evaluate(some, pack, seen, videos=videos, spec=base, tell=tell),
            every_epochs=base.evaluation.every_epochs,
            identity=_identity(experiments, tower, process),
            scratch=surroundings.scratch,
            report=surroundings.report,
            constants={name: constants_of(student, held[name]) for name, student in students.items()},
            judge=surroundings.judge,
            broken=lambda: [_row(report) for report in (*training.broken.values(), *testing.broken.values())],
        )
        place = resume(surroundings.resume_from, students, ending)
        if base.cluster.is_elastic and not place.next_step:
            ending.notes.append(f"began with {process.world} of {base.cluster.workers_in_words} workers")
        if kept:
            kept.make(surroundings)
        surroundings.narrator.begin(plan.steps, place.next_step)
        reset_peak(process.device)
        hooks = [recorder, ending, surroundings.narrator]
        pauses = Pauses(ending, surroundings.wish, base.cluster.checkpoint_minutes)
        first, is_open = place.next_step, place.is_open
        train(pack, training, plan=plan, hooks=hooks, first_step=first, is_open=is_open, pauses=pauses)
        surroundings.narrator.end()
        elapsed = time.perf_counter() - started
        return {
            name: outcome_of(student, ending, plan, tower.fingerprint(), (held[name], elapsed))
            for name, student in students.items()
        }


def _identity(experiments: Mapping[str, Experiment], tower: FrozenTower, process: Process) -> dict[str, Any]:
    """What a checkpoint says of the run that wrote it."""
    return {
        "backbone": tower.fingerprint(),
        "digests": {name: spec.digest() for name, spec in experiments.items()},
        "kin": {name: spec.digest(of_any_workers=True) for name, spec in experiments.items()},
        "world": process.world,
    }


def settle(spec: Experiment, process: Process) -> None:
    """Settle what a result may depend on in a process: the number of threads, and what a CPU does with denormals.

    Weight decay drives unused weights to numbers so small that a CPU takes a hundred times longer for each.
    """
    torch.set_num_threads(spec.cluster.cpus_per_worker)
    if process.device.type == "cpu":
        torch.set_flush_denormal(True)


def build_student(name: str, spec: Experiment, process: Process, tower: FrozenTower) -> Student:
    """A student as its document says, its initial weights a function of the document's seed alone."""
    device = str(process.device)
    needs = Needs(
        method=spec.method,
        tower=tower,
        frames=spec.data.frames,
        classes=spec.data.dataset.classes(),
        encode_texts=functools.partial(spec.backbone.encode_texts, device=device),
        text_tower=functools.partial(spec.backbone.build_text_tower, device="cpu"),
        mixes_labels=spec.data.augmentation.mixes_clips,
        process=process,
        training_captions=lambda: [words for clip in spec.data.dataset.clips("train") for words in clip.captions],
    )
    with seeded(derive_seed(spec.seed, "initial weights")):
        task, module = spec.task.assemble(needs)
    if spec.cluster.sync_batch_norm and process.world > 1:
        synchronise_norms(module)
    return Student(
        name=name,
        module=module,
        task=task,
        spec=spec.optimization,
        seed=spec.seed,
        reads=spec.reads,
        process=process,
    )


def evaluate_students(
    experiments: Mapping[str, Experiment], weights: Mapping[str, Path], process: Process
) -> tuple[dict[str, Evaluation], list[dict[str, Any]]]:
    """Evaluate checkpoints of any number of students over one backbone, in one pass over the test split.

    Args:
        experiments: By student name; the data section of the first says split and views.
        weights: The safetensors file of each student's module.
        process: This worker.

    Returns:
        The evaluations by name, and the clips that could not be read.

    Raises:
        InputError: If there are several students, and one changes the tower.
    """
    from side4video.engine.checkpoint import load_tensors

    check_pack(experiments)
    base = next(iter(experiments.values()))
    settle(base, process)
    tower = base.backbone.build(str(process.device))
    base.data.dataset.prepare()
    students = {name: build_student(name, spec, process, tower) for name, spec in experiments.items()}
    for name, student in students.items():
        load_tensors(student.module, weights[name])
        student.average = None
    pack = Pack(functools.partial(features_of_batch, tower), list(students.values()))
    clips = base.data.dataset.clips("test")
    stream = EvaluationStream(
        base.data,
        clips,
        batch_size=base.evaluation.batch_size,
        rank=process.rank,
        world=process.world,
    )
    try:
        results = _evaluate(list(students.values()), pack, stream, videos=len(clips), spec=base)
        return results, [_row(report) for report in stream.broken.values()]
    finally:
        stream.close()


@dataclass(frozen=True)
class _KeptFeatures:
    """What is kept of a tower for a pack, and the tower that makes what is missing."""

    cache: FeatureCache
    tower: FrozenTower
    reads: Reads

    @classmethod
    def of(cls, spec: Experiment, tower: FrozenTower, pack: Pack, clips: Clips) -> "_KeptFeatures | None":
        """Nothing where features are computed."""
        if spec.features.kind != "cached":
            return None
        reads = functools.reduce(operator.or_, (student.reads for student in pack.students))
        made_of = {
            # The weights are known by what they are, not by where they lie; frames in chunks are the same frames.
            "backbone": spec.backbone.model_dump(mode="json", exclude={"weights", "chunk_frames"}),
            "weights": tower.fingerprint(),
            "shape": asdict(tower.shape),
            "every": reads.every,
        }
        layouts = entry_layouts(
            tower.shape,
            reads,
            frames=spec.data.frames,
            dtype=tower.dtype,
            keeps_eight_bits=tower.keeps_eight_bits,
        )
        is_cuda = tower.device.type == "cuda"
        cache = FeatureCache(spec.features, spec.data, clips, tower=made_of, layouts=layouts, is_pinned=is_cuda)
        return cls(cache, tower, reads)

    def blank(self, spec: Experiment, process: Process) -> dict[str, torch.Tensor]:
        """Features of a part of a batch without numbers, for the rehearsal."""
        return blank_stored(self.cache.layouts, spec.clips_of_a_part, process.device)

    def make(self, surroundings: Surroundings) -> None:
        """Make what is missing, all workers together; then the tower has done its work and its weights go."""
        process, narrator = surroundings.process, surroundings.narrator
        found: list[tuple[str, Missing]] = []

        def look() -> None:
            if process.is_first:
                found.extend(self.cache.missing())
                self.cache.check_room(found)

        def compute(video: torch.Tensor, entries: Collection[str]) -> dict[str, torch.Tensor]:
            features = frozen_features(self.tower, video.to(process.device), reads_of(entries, self.reads.every))
            return to_stored(features)

        narrator.say("looking for kept features")
        process.together(look)
        self.cache.make(
            process.gather(found)[0],
            compute,
            rank=process.rank,
            world=process.world,
            together=process.together,
            tell=lambda done, clips: narrator.say("keeping features, clips", done, steps=clips),
        )
        self.tower.let_go_of_weights()
        if process.device.type == "cuda":
            torch.cuda.empty_cache()


class _streams:  # noqa: N801 - used as a context manager
    """Both streams, closed whatever happens, so that no loader process outlives the run."""

    def __init__(self, spec: Experiment, surroundings: Surroundings, tower: FrozenTower, pack: Pack) -> None:
        dataset, features, process = spec.data.dataset, spec.features, surroundings.process
        fingerprint = dataset.fingerprint() if features.kind == "cached" else ""
        clips = Clips(dataset.clips("train"), dataset.clips("test"), dataset.mirrored_classes(), fingerprint)
        self.kept = _KeptFeatures.of(spec, tower, pack, clips)
        cache = self.kept.cache if self.kept else None
        common: dict[str, Any] = {"rank": process.rank, "world": process.world, "prefetch": surroundings.prefetch}
        self.training = TrainingStream(
            spec.data,
            clips.train,
            batch_size=spec.optimization.batch_size,
            micro_batches=spec.optimization.accumulation,
            mirrored=clips.mirrored,
            views=features.pool,
            stored=cache.training if cache else None,
            **common,
        )
        self.videos = len(clips.test)
        self.testing = EvaluationStream(
            spec.data,
            clips.test,
            batch_size=spec.evaluation.batch_size,
            stored=cache.testing if cache else None,
            **common,
        )

    def __enter__(self) -> tuple[TrainingStream, EvaluationStream, int, _KeptFeatures | None]:
        return self.training, self.testing, self.videos, self.kept

    def __exit__(self, *_: object) -> None:
        self.training.close()
        self.testing.close()
        if self.kept:
            self.kept.cache.close()


def _evaluate(
    students: list[Student],
    pack: Pack,
    stream: EvaluationBatches,
    *,
    videos: int,
    spec: Experiment,
    tell: Callable[[str, int, int], None] | None = None,
) -> dict[str, Evaluation]:
    precision, crops = spec.evaluation.precision, spec.data.views.crops
    return evaluate(pack, students, stream, videos=videos, precision=precision, crops=crops, tell=tell)


def _teller(surroundings: Surroundings) -> Callable[[str, int, int], None]:
    return lambda what, done, total: surroundings.narrator.say(what, done, steps=total)


def _mock_video(spec: Experiment, process: Process) -> torch.Tensor:
    size = spec.data.size
    return torch.zeros(
        (spec.clips_of_a_part, spec.data.frames, 3, size, size), dtype=torch.uint8, device=process.device
    )


def _row(report: Any) -> dict[str, Any]:
    return {"index": report.index, "path": report.path, "origin": report.origin, "reason": report.reason}

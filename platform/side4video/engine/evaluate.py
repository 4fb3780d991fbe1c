"""Evaluates all students in one pass over the clips. The result does not depend on the number of workers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from side4video.engine.pack import EvaluationBatches, Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student


@dataclass(frozen=True, slots=True)
class ViewAccuracy:
    """The accuracy of one view alone: one temporal clip and one crop of each video."""

    clip: int
    """Index of the temporal clip, from 0."""
    crop: int
    """Index of the crop, from 0, left to right. A single crop is the centre."""
    videos: int
    """Labelled videos whose view could be read."""
    top1: float
    """A fraction, of softmax scores; ties count against the model."""
    top5: float

    @property
    def name(self) -> str:
        """`view_CLIP_CROP`, such as `view_0_2`."""
        return f"view_{self.clip}_{self.crop}"


class Evaluation(Protocol):
    """A task's evaluation of a student."""

    metrics: dict[str, float]
    """By name, with the task's main metric."""
    class_metrics: dict[str, float]
    """By class; empty if the task has none."""
    loss: float
    views: int
    """Views averaged per video (crops x temporal clips)."""
    videos: int
    """Videos that could be read."""
    per_view: tuple[ViewAccuracy, ...]
    """Accuracy of each view; empty if there is one view, or the task does not average views."""

    def fit(self) -> dict[str, float]:
        """What the task fits on a validation split, such as a temperature, by name; empty if it fits nothing."""
        ...

    def fitted_metrics(self, validation: Mapping[str, float]) -> dict[str, float]:
        """Further metrics of a test split, with what `fit` gave on the validation split.

        `validation` has the metrics of that split by name, with those of `fit`.
        """
        ...

    def write(self, folder: Path) -> None:
        """Write `predictions.csv` and the task's other files."""
        ...

    def write_predictions(self, path: Path, videos: Sequence[str] = ()) -> None:
        """Write a CSV with the columns `index` (of the video or text) and `correct`, among others.

        With `videos`, the paths of the list, also the column `video`.
        """
        ...


class Collector(Protocol):
    """Collects a student's outputs on one worker, batch by batch."""

    def add(self, outputs: Any, targets: Any, batch: Any) -> None:
        """Add the outputs of a batch."""
        ...

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> Evaluation:
        """Evaluate the outputs of all workers; the same on every worker. View `i` is crop `i % crops`. Collective."""
        ...


@torch.no_grad()
def evaluate(
    pack: Pack,
    students: Sequence[Student],
    stream: EvaluationBatches,
    *,
    videos: int,
    precision: str = "fp32",
    crops: int = 1,
    report_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate `students` on the batches of `stream`, over all workers. Collective.

    Each video counts once for any number of workers. Memory does not grow with the number of views.

    Args:
        pack: The students and their towers.
        students: The students to evaluate.
        stream: This worker's batches.
        videos: Number of videos in the split; batches have indices below it.
        precision: Autocast of the students (the authors evaluate without: fp32).
        crops: Crops of each temporal clip: view `i` is crop `i % crops` of clip `i // crops`.
        report_progress: Called with (phase, done, total) during long work after the last batch.
    """
    process = students[0].process
    collectors = {
        student.name: student.task.collector(student.evaluated, videos, report_progress) for student in students
    }
    modes = {student.name: student.evaluated.training for student in students}
    for student in students:
        student.sync_buffers()
        student.evaluated.eval()
    try:
        passes = pack.passes_of(students)
        for part in stream.batches():
            batch = part.to(process.device)
            for frozen in passes:
                features = frozen.features_for(frozen.students, batch)
                for student in frozen.students:
                    targets = student.task.targets(batch)
                    with student.autocast(precision):
                        outputs = student.evaluated(features, targets)
                    collectors[student.name].add(outputs, targets, batch)
                del features
        return {name: collector.compute(process, crops=crops) for name, collector in collectors.items()}
    finally:
        for student in students:
            student.evaluated.train(modes[student.name])

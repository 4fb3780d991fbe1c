"""Evaluation of any number of students in one pass, exact under any number of workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from side4video.engine.pack import EvaluationBatches, Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student


@dataclass(frozen=True, slots=True)
class ViewAccuracy:
    """How well one view does alone: a temporal clip and a crop of each video."""

    clip: int
    """From 0, in time."""
    crop: int
    """From 0, left to right; of one crop the centre."""
    videos: int
    """Videos with a label of which this view could be read."""
    top1: float
    """A fraction, as the merged one is: of softmax scores, ties against the model."""
    top5: float

    @property
    def name(self) -> str:
        """`view_0_2`: clip and crop."""
        return f"view_{self.clip}_{self.crop}"


class Evaluation(Protocol):
    """What a task measured of a student."""

    metrics: dict[str, float]
    """By name, the task's headline among them."""
    class_metrics: dict[str, float]
    """By class; empty where a task has none."""
    loss: float
    views: int
    """Views of a video that were averaged (crops x temporal clips)."""
    videos: int
    """Videos that could be read."""
    per_view: tuple[ViewAccuracy, ...]
    """Each view by itself; empty where a video has one view, or a task merges none."""

    def write(self, folder: Path) -> None:
        """Files that say what was predicted: `predictions.csv`, and what the task adds."""
        ...

    def write_predictions(self, path: Path) -> None:
        """CSV with a column `index` that names what is predicted, and a column `correct`."""
        ...


class Collector(Protocol):
    """Takes a student's outputs in, batch by batch, on each worker its own."""

    def add(self, outputs: Any, targets: Any, batch: Any) -> None:
        """Take a batch's outputs."""
        ...

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> Evaluation:
        """What all workers' outputs amount to, the same on every worker; `crops` tell a view's clip from its crop."""
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
    tell: Callable[[str, int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate `students` on the batches of `stream`, over all workers.

    Each video is counted once, whatever the number of workers; memory does not grow with the number of views.

    Args:
        pack: The frozen pass.
        students: Whom to evaluate.
        stream: This worker's batches.
        videos: Length of the list that the batches' indices point into.
        precision: Autocast of the students (the authors evaluate without: fp32).
        crops: Spatial views of each temporal one: view `i` is crop `i % crops` of clip `i // crops`.
        tell: Hears of long work after the last batch: what it is, how much of it is done, and how much there is.
    """
    process = students[0].process
    collectors = {student.name: student.task.collector(student.evaluated, videos, tell) for student in students}
    modes = {student.name: student.evaluated.training for student in students}
    for student in students:
        student.sync_buffers()
        student.evaluated.eval()
    try:
        for part in stream.batches():
            batch = part.to(process.device)
            features = pack.features_for(students, batch)
            for student in students:
                targets = student.task.targets(batch)
                with student.autocast(precision):
                    outputs = student.evaluated(features, targets)
                collectors[student.name].add(outputs, targets, batch)
            del features
        return {name: collector.compute(process, crops=crops) for name, collector in collectors.items()}
    finally:
        for student in students:
            student.evaluated.train(modes[student.name])

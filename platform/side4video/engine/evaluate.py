"""Evaluation of any number of students in one pass, exact under any number of workers.

Legend: V videos, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from side4video.engine.pack import EvaluationBatches, Pack
from side4video.engine.student import Student


@dataclass(frozen=True)
class Evaluation:
    """Scores of the videos that could be read, averaged over their views."""

    indices_V: NDArray[np.int64]
    """Positions in the list of clips."""
    labels_V: NDArray[np.int64]
    scores_VC: NDArray[np.float64]
    views: int
    """Views of a video that were averaged (crops x temporal clips)."""
    loss: float
    """Mean over videos and views."""
    metrics: dict[str, float]
    class_metrics: dict[str, float]


@dataclass
class _Sums:
    scores_VC: NDArray[np.float64]
    labels_V: NDArray[np.int64]
    views_V: NDArray[np.int64]
    loss: float = 0.0

    def add(self, other: "_Sums") -> None:
        self.scores_VC += other.scores_VC
        self.labels_V = np.maximum(self.labels_V, other.labels_V)
        self.views_V += other.views_V
        self.loss += other.loss


@torch.no_grad()
def evaluate(
    pack: Pack, students: Sequence[Student], stream: EvaluationBatches, *, videos: int, precision: str = "fp32"
) -> dict[str, Evaluation]:
    """Evaluate `students` on the batches of `stream`, over all workers.

    Each video is counted once, whatever the number of workers; memory does not grow with the number of views.

    Args:
        pack: The frozen pass.
        students: Whom to evaluate.
        stream: This worker's batches.
        videos: Length of the list that the batches' indices point into.
        precision: Autocast of the students (the authors evaluate without: fp32).
    """
    process = students[0].process
    sums = {student.name: _empty(videos, len(student.task.classes)) for student in students}
    modes = {student.name: student.evaluated.training for student in students}
    for student in students:
        student.share_statistics()
        student.evaluated.eval()
    try:
        for part in stream.batches():
            batch = part.to(process.device)
            features = pack.features_for(students, batch)
            for student in students:
                with student.autocast(precision):
                    outputs = student.evaluated(features)
                _collect(sums[student.name], student, outputs, batch)
            del features
    finally:
        for student in students:
            student.evaluated.train(modes[student.name])
    return {student.name: _merge(student, process.gather(sums[student.name])) for student in students}


def _empty(videos: int, classes: int) -> _Sums:
    return _Sums(np.zeros((videos, classes)), np.full(videos, -1, np.int64), np.zeros(videos, np.int64))


def _collect(sums: _Sums, student: Student, outputs: torch.Tensor, batch: object) -> None:
    labels, indices = batch.labels_B, batch.indices_B.cpu().numpy()  # type: ignore[attr-defined]
    scores = student.task.scores(outputs).double().cpu().numpy()
    # A video may stand in a batch several times, once for each view.
    np.add.at(sums.scores_VC, indices, scores)
    np.add.at(sums.views_V, indices, 1)
    sums.labels_V[indices] = labels.cpu().numpy()
    sums.loss += float(student.task.loss(outputs, labels))


def _merge(student: Student, parts: list[_Sums]) -> Evaluation:
    whole = _empty(*parts[0].scores_VC.shape)
    for part in parts:
        whole.add(part)
    seen_V = np.flatnonzero(whole.views_V)
    views_V1 = whole.views_V[seen_V, None]
    scores_VC, labels_V = whole.scores_VC[seen_V] / np.maximum(views_V1, 1), whole.labels_V[seen_V]
    return Evaluation(
        indices_V=seen_V.astype(np.int64),
        labels_V=labels_V,
        scores_VC=scores_VC,
        views=int(whole.views_V.max(initial=0)),
        loss=whole.loss / max(1, int(whole.views_V.sum())),
        metrics=student.task.metrics(scores_VC, labels_V),
        class_metrics=student.task.class_metrics(scores_VC, labels_V),
    )

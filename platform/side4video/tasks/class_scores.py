"""Scores of classes, averaged over the views of a video, and what is measured of them.

Legend: B rows of a batch, V videos, C classes.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.engine.metrics import class_accuracy, label_ranks, recognition_metrics
from side4video.engine.processes import Process


@dataclass(frozen=True)
class ClassEvaluation:
    """Scores of the videos that could be read, averaged over their views."""

    classes: tuple[str, ...]
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

    @property
    def videos(self) -> int:
        """Videos that could be read."""
        return len(self.indices_V)

    def write(self, folder: Path) -> None:
        """`predictions.csv`, `scores.npz` and `class_accuracy.json`."""
        self.write_predictions(folder / "predictions.csv")
        np.savez_compressed(
            folder / "scores.npz",
            indices=self.indices_V,
            labels=self.labels_V,
            scores=self.scores_VC.astype(np.float32),
        )
        text = json.dumps(self.class_metrics, indent=2) + "\n"
        (folder / "class_accuracy.json").write_text(text, encoding="utf-8")

    def write_predictions(self, path: Path) -> None:
        """One row a video: its place in the list, label, prediction, and the scores of both."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "label", "prediction", "correct", "score", "label_score"])
            for index, label, scores_C in zip(self.indices_V, self.labels_V, self.scores_VC, strict=True):
                guess = int(scores_C.argmax())
                own = f"{scores_C[label]:.6f}" if label >= 0 else ""
                name = self.classes[label] if label >= 0 else ""
                writer.writerow([index, name, self.classes[guess], int(guess == label), f"{scores_C[guess]:.6f}", own])


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


class ClassScores:
    """Sums a student's scores over views and workers."""

    def __init__(self, task: Any, *, videos: int) -> None:
        """Nothing seen yet.

        Args:
            task: Makes scores and loss of outputs (`tasks.classification.Classification`).
            videos: Length of the list that the batches' indices point into.
        """
        self.task = task
        self.sums = _empty(videos, len(task.classes))

    def add(self, outputs: Any, labels_B: Any, batch: Any) -> None:
        """Take a batch's outputs; a video may stand in it several times, once for each view."""
        sums, indices = self.sums, batch.indices_B.cpu().numpy()
        np.add.at(sums.scores_VC, indices, self.task.scores(outputs).double().cpu().numpy())
        np.add.at(sums.views_V, indices, 1)
        sums.labels_V[indices] = labels_B.cpu().numpy()
        sums.loss += float(self.task.loss(outputs, labels_B))

    def conclude(self, process: Process) -> ClassEvaluation:
        """The evaluation over all workers."""
        whole = _empty(*self.sums.scores_VC.shape)
        for part in process.gather(self.sums):
            whole.add(part)
        seen_V = np.flatnonzero(whole.views_V)
        scores_VC = whole.scores_VC[seen_V] / np.maximum(whole.views_V[seen_V, None], 1)
        labels_V = whole.labels_V[seen_V]
        return ClassEvaluation(
            classes=self.task.classes,
            indices_V=seen_V.astype(np.int64),
            labels_V=labels_V,
            scores_VC=scores_VC,
            views=int(whole.views_V.max(initial=0)),
            loss=whole.loss / max(1, int(whole.views_V.sum())),
            metrics=self._metrics(scores_VC, labels_V),
            class_metrics=self._class_metrics(scores_VC, labels_V),
        )

    def _metrics(self, scores_VC: NDArray[np.float64], labels_V: NDArray[np.int64]) -> dict[str, float]:
        """`top1`, `top5`, `mean_class_accuracy`: fractions."""
        return recognition_metrics(label_ranks(scores_VC, labels_V), labels_V, classes=len(self.task.classes))

    def _class_metrics(self, scores_VC: NDArray[np.float64], labels_V: NDArray[np.int64]) -> dict[str, float]:
        """Top-1 accuracy of each class that occurs, by name."""
        classes = self.task.classes
        accuracy_C = class_accuracy(label_ranks(scores_VC, labels_V), labels_V, classes=len(classes))
        return {name: float(value) for name, value in zip(classes, accuracy_C, strict=True) if np.isfinite(value)}


def _empty(videos: int, classes: int) -> _Sums:
    return _Sums(np.zeros((videos, classes)), np.full(videos, -1, np.int64), np.zeros(videos, np.int64))

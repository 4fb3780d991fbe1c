"""Class scores averaged over the views of a video, and their metrics, also for each view.

Legend: B rows of a batch, V videos, C classes, W views of a video.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.core.csv_cells import text_cell
from side4video.core.files import replacing
from side4video.engine.evaluate import ViewAccuracy
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.recognition.metrics import Scores, label_ranks, recognition_metrics
from side4video.tasks.recognition.temperature import TEMPERATURE, fit_temperature, scaled_metrics
from side4video.tasks.recognition.view_rows import ViewRows


@dataclass(frozen=True)
class ClassEvaluation:
    """Scores of the readable videos, averaged over their views."""

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
    per_view: tuple[ViewAccuracy, ...] = ()
    """Accuracy of each view; empty if there is one view."""
    rows: ViewRows | None = None
    """The prediction of each view for each video; None if there is one view."""

    @property
    def videos(self) -> int:
        """Number of readable videos."""
        return len(self.indices_V)

    def fit(self) -> dict[str, float]:
        """The temperature that fits these scores best (`tasks.recognition.temperature`)."""
        labelled = self._labelled
        return {TEMPERATURE: fit_temperature(labelled.scores_NC, labelled.labels_N)}

    def fitted_metrics(self, validation: Mapping[str, float]) -> dict[str, float]:
        """Calibration error and likelihood of these scores with the temperature of the validation split."""
        if TEMPERATURE not in validation:  # a checkpoint of an earlier version
            return {}
        labelled = self._labelled
        return scaled_metrics(labelled.scores_NC, labelled.labels_N, validation[TEMPERATURE])

    @property
    def _labelled(self) -> Scores:
        has_label_V = self.labels_V >= 0
        return Scores(self.scores_VC[has_label_V], self.labels_V[has_label_V])

    def write(self, folder: Path) -> None:
        """`predictions.csv`, `scores.npz` and `class_accuracy.json`; with several views also `views.csv`."""
        self.write_predictions(folder / "predictions.csv")
        self.write_views(folder / "views.csv")
        np.savez_compressed(
            folder / "scores.npz",
            indices=self.indices_V,
            labels=self.labels_V,
            scores=self.scores_VC.astype(np.float32),
        )
        text = json.dumps(self.class_metrics, indent=2) + "\n"
        (folder / "class_accuracy.json").write_text(text, encoding="utf-8")

    def write_predictions(self, path: Path, videos: Sequence[str] = ()) -> None:
        """One row per video: its index in the list, label, prediction, and the scores of both.

        With `videos`, the paths of the list, each row also has the video and the scores of all classes.
        """
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            scored = [text_cell(f"score {name}") for name in self.classes] if videos else []
            named = ["video"] if videos else []
            writer.writerow(["index", *named, "label", "prediction", "correct", "score", "label_score", *scored])
            for index, label, scores_C in zip(self.indices_V, self.labels_V, self.scores_VC, strict=True):
                prediction = int(scores_C.argmax())
                own = f"{scores_C[label]:.6f}" if label >= 0 else ""
                name = text_cell(self.classes[label]) if label >= 0 else ""
                writer.writerow(
                    [
                        index,
                        *([text_cell(videos[int(index)])] if videos else []),
                        name,
                        text_cell(self.classes[prediction]),
                        int(prediction == label),
                        f"{scores_C[prediction]:.6f}",
                        own,
                        *([f"{score:.6f}" for score in scores_C] if videos else []),
                    ]
                )

    def write_views(self, path: Path) -> None:
        """One row per view and video: its index in the list, label, prediction, and the label's score.

        There is no file if videos have one view.
        """
        if self.rows is None:
            return
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", "crop", "index", "label", "prediction", "correct", "label_score"])
            for number, view in enumerate(self.per_view):
                rows = self.rows.of_view(number)
                labels = self.labels_V[np.searchsorted(self.indices_V, rows["index"])]
                for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
                    index, _, prediction, score = row
                    has_label = label >= 0
                    cells = [
                        index,
                        text_cell(self.classes[label]) if has_label else "",
                        text_cell(self.classes[prediction]),
                        int(prediction == label),
                    ]
                    writer.writerow([view.clip, view.crop, *cells, f"{score:.6f}" if has_label else ""])


@dataclass
class _Sums:
    scores_VC: NDArray[np.float64]
    labels_V: NDArray[np.int64]
    views_V: NDArray[np.int64]
    by_view_W3: NDArray[np.int64]
    """For each view: videos with a label, with a correct top-1, and with a correct top-5."""
    loss: float = 0.0

    def add(self, other: "_Sums") -> None:
        self.scores_VC += other.scores_VC
        self.labels_V = np.maximum(self.labels_V, other.labels_V)
        self.views_V += other.views_V
        self.resize(len(other.by_view_W3))
        self.by_view_W3[: len(other.by_view_W3)] += other.by_view_W3
        self.loss += other.loss

    def resize(self, views: int) -> None:
        if views > len(self.by_view_W3):
            missing = np.zeros((views - len(self.by_view_W3), 3), np.int64)
            self.by_view_W3 = np.concatenate([self.by_view_W3, missing])


class ClassScores:
    """Sums a student's scores over views and workers."""

    def __init__(self, task: Any, *, videos: int, rows: ViewRows | None = None) -> None:
        """Start without scores.

        `task` is a `Classification`; `videos` is the length of the list of clips.
        """
        self.task = task
        self.sums = _empty(videos, len(task.classes))
        self.rows = ViewRows() if rows is None else rows

    def add(self, outputs: Any, labels_B: Any, batch: Any) -> None:
        """Add a batch's outputs; a video can be in it several times, once per view."""
        sums, indices = self.sums, batch.indices_B.cpu().numpy()
        scores_BC, labels = self.task.scores(outputs).double().cpu().numpy(), labels_B.cpu().numpy()
        np.add.at(sums.scores_VC, indices, scores_BC)
        np.add.at(sums.views_V, indices, 1)
        sums.labels_V[indices] = labels
        sums.loss += float(self.task.evaluation_loss(outputs, labels_B))
        self.add_views(scores_BC, labels, indices, batch.views_B.cpu().numpy())

    def add_views(
        self,
        scores_BC: NDArray[np.float64],
        labels_B: NDArray[np.int64],
        indices_B: NDArray[np.int64],
        views_B: NDArray[np.int64],
    ) -> None:
        """Add the results of each view."""
        has_label_B = labels_B >= 0
        ranks_B = label_ranks(scores_BC, np.maximum(labels_B, 0))
        counts_B3 = np.stack([has_label_B, has_label_B & (ranks_B < 1), has_label_B & (ranks_B < 5)], axis=1)
        self.sums.resize(int(views_B.max(initial=-1)) + 1)
        np.add.at(self.sums.by_view_W3, views_B, counts_B3)
        own_B = scores_BC[np.arange(len(labels_B)), np.maximum(labels_B, 0)]
        self.rows.add(indices_B, views_B, scores_BC.argmax(axis=1), np.where(has_label_B, own_B, np.nan))

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> ClassEvaluation:
        """The evaluation over all workers."""
        total = _empty(*self.sums.scores_VC.shape)
        for part in process.gather(self.sums):
            total.add(part)
        several = len(total.by_view_W3) > 1
        read_V = np.flatnonzero(total.views_V)
        scores_VC = total.scores_VC[read_V] / np.maximum(total.views_V[read_V, None], 1)
        labels_V = total.labels_V[read_V]
        has_label_V = labels_V >= 0
        labelled = Scores(scores_VC[has_label_V], labels_V[has_label_V])
        return ClassEvaluation(
            classes=self.task.classes,
            indices_V=read_V.astype(np.int64),
            labels_V=labels_V,
            scores_VC=scores_VC,
            views=int(total.views_V.max(initial=0)),
            loss=total.loss / max(1, int(total.views_V.sum())),
            metrics=recognition_metrics(labelled, self.task.extra_metrics),
            class_metrics=self._class_metrics(labelled),
            per_view=_per_view(total.by_view_W3, crops) if several else (),
            rows=self.rows.gather_rows(process) if several else None,
        )

    def _class_metrics(self, scores: Scores) -> dict[str, float]:
        """Top-1 accuracy of each class that occurs, by name."""
        accuracies = zip(self.task.classes, scores.class_accuracy, strict=True)
        return {name: float(value) for name, value in accuracies if np.isfinite(value)}


def _empty(videos: int, classes: int) -> _Sums:
    return _Sums(
        scores_VC=np.zeros((videos, classes)),
        labels_V=np.full(videos, -1, np.int64),
        views_V=np.zeros(videos, np.int64),
        by_view_W3=np.zeros((0, 3), np.int64),
    )


def _per_view(by_view_W3: NDArray[np.int64], crops: int) -> tuple[ViewAccuracy, ...]:
    return tuple(
        ViewAccuracy(
            clip=view // crops,
            crop=view % crops,
            videos=videos,
            top1=first / videos if videos else float("nan"),
            top5=among / videos if videos else float("nan"),
        )
        for view, (videos, first, among) in enumerate(by_view_W3.tolist())
    )

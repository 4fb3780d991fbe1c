"""The evaluation of several labels a clip: scores averaged over the views of a video, their metrics and files.

Legend: B rows of a batch, V videos, C classes.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.core.csv_cells import text_cell
from side4video.core.files import replacing
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.multi_label.metrics import LabelScores, label_metrics
from side4video.tasks.view_average import AveragedEvaluation, ViewAverage

THRESHOLD = 0.5
"""Score from which on a class counts as predicted, in `predictions.csv`."""


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation(AveragedEvaluation):
    """Scores of the readable videos, averaged over their views. A class's metric is its average precision."""

    classes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """`predictions.csv`, `scores.npz` and `class_average_precision.json`."""
        self.write_predictions(folder / "predictions.csv")
        np.savez_compressed(
            folder / "scores.npz",
            indices=self.found.indices_V,
            labels=self.found.targets_VK.astype(np.uint8),
            scores=self.found.scores_VC.astype(np.float32),
        )
        text = json.dumps(self.class_metrics, indent=2) + "\n"
        (folder / "class_average_precision.json").write_text(text, encoding="utf-8")

    def write_predictions(self, path: Path, videos: Sequence[str] = ()) -> None:
        """One row per video: its index in the list, its classes, those with a score of `THRESHOLD` or more.

        Both are JSON lists of names. `correct` is 1 if they are the same. With `videos`, the paths of the list, each
        row also has the video and the scores of all classes.
        """
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            scored = [text_cell(f"score {name}") for name in self.classes] if videos else []
            named = ["video"] if videos else []
            writer.writerow(["index", *named, "labels", "predictions", "correct", *scored])
            found = self.found
            for index, targets_C, scores_C in zip(found.indices_V, found.targets_VK, found.scores_VC, strict=True):
                predicted_C = scores_C >= THRESHOLD
                writer.writerow(
                    [
                        index,
                        *([text_cell(videos[int(index)])] if videos else []),
                        self._names(targets_C > 0),
                        self._names(predicted_C),
                        int(bool((predicted_C == (targets_C > 0)).all())),
                        *([f"{score:.6f}" for score in scores_C] if videos else []),
                    ]
                )

    def _names(self, chosen_C: NDArray[np.bool_]) -> str:
        return json.dumps([self.classes[number] for number in np.flatnonzero(chosen_C)], ensure_ascii=False)


class LabelScoresCollector:
    """Sums a student's scores over views and workers."""

    def __init__(self, task: Any, *, videos: int) -> None:
        """`task` is a `MultiLabel`; `videos` is the length of the list of clips."""
        self.task = task
        self.sums = ViewAverage(videos, columns=len(task.classes), targets=len(task.classes))

    def add(self, outputs: Any, targets: Any, batch: Any) -> None:
        """Add a batch's logits; a video can be in it several times, once per view."""
        loss = float(self.task.loss(outputs, targets))
        self.sums.add(batch.indices_B, self.task.scores(outputs), targets, loss=loss)

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> LabelEvaluation:  # noqa: ARG002 - an interface
        """The evaluation over all workers. Collective."""
        found = self.sums.compute(process)
        scores = LabelScores(found.scores_VC, found.targets_VK)
        precision = zip(self.task.classes, scores.class_precision, strict=True)
        return LabelEvaluation(
            classes=self.task.classes,
            found=found,
            metrics=label_metrics(scores),
            class_metrics={name: float(value) for name, value in precision if np.isfinite(value)},
        )

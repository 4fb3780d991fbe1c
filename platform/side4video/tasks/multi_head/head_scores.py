"""The evaluation of several heads: scores averaged over the views of a video, their metrics and files.

Legend: B rows of a batch, V videos, C classes, S heads.
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
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.multi_head.metrics import HeadScores, head_metrics
from side4video.tasks.view_average import AveragedEvaluation, ViewAverage


@dataclass(frozen=True, kw_only=True)
class HeadEvaluation(AveragedEvaluation):
    """Scores of the readable videos, averaged over their views.

    `found` has the scores of all heads, one after the other, and the labels of each head. There are no metrics of
    classes, because a name can be a class of two heads.
    """

    heads: Mapping[str, tuple[str, ...]]
    """Names of the classes of each head."""

    def write(self, folder: Path) -> None:
        """`predictions.csv`, `scores.npz` (scores of all heads, one after the other) and `head_classes.json`."""
        self.write_predictions(folder / "predictions.csv")
        np.savez_compressed(
            folder / "scores.npz",
            indices=self.found.indices_V,
            labels=self.found.targets_VK,
            scores=self.found.scores_VC.astype(np.float32),
        )
        text = json.dumps({name: list(names) for name, names in self.heads.items()}, indent=2) + "\n"
        (folder / "head_classes.json").write_text(text, encoding="utf-8")

    def write_predictions(self, path: Path, videos: Sequence[str] = ()) -> None:
        """One row per video: its index in the list, and label, prediction and score of each head.

        `correct` is 1 if all heads are right. With `videos`, the paths of the list, each row also has the video and
        the scores of all classes.
        """
        parts = split_heads(self.found.scores_VC, [len(names) for names in self.heads.values()])
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            columns = [text_cell(f"{name} {end}") for name in self.heads for end in ("label", "prediction", "score")]
            scored = [text_cell(f"{head} score {name}") for head, names in self.heads.items() for name in names]
            named = ["video"] if videos else []
            writer.writerow(["index", *named, "correct", *columns, *(scored if videos else [])])
            for row, index in enumerate(self.found.indices_V):
                own, are_right = [], []
                for number, names in enumerate(self.heads.values()):
                    label, scores_C = int(self.found.targets_VK[row, number]), parts[number][row]
                    guess = int(scores_C.argmax())
                    are_right.append(guess == label)
                    own += [text_cell(names[label]) if label >= 0 else "", text_cell(names[guess])]
                    own.append(f"{scores_C[guess]:.6f}")
                name = [text_cell(videos[int(index)])] if videos else []
                scores = [f"{score:.6f}" for score in self.found.scores_VC[row]] if videos else []
                writer.writerow([index, *name, int(all(are_right)), *own, *scores])


class HeadScoresCollector:
    """Sums a student's scores over views and workers."""

    def __init__(self, task: Any, *, videos: int) -> None:
        """`task` is a `MultiHead`; `videos` is the length of the list of clips."""
        self.task = task
        self.sums = ViewAverage(videos, columns=sum(task.sizes), targets=len(task.sizes))

    def add(self, outputs: Any, targets: Any, batch: Any) -> None:
        """Add a batch's logits; a video can be in it several times, once per view."""
        loss = float(self.task.loss(outputs, targets))
        self.sums.add(batch.indices_B, self.task.scores(outputs), targets, loss=loss)

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> HeadEvaluation:  # noqa: ARG002 - an interface
        """The evaluation over all workers. Collective."""
        found = self.sums.compute(process)
        labelled_V = (found.targets_VK >= 0).all(axis=1)
        parts = split_heads(found.scores_VC[labelled_V], self.task.sizes)
        scores = HeadScores(tuple(parts), found.targets_VK[labelled_V])
        return HeadEvaluation(found=found, metrics=head_metrics(scores, tuple(self.task.heads)), heads=self.task.heads)


def split_heads(scores_VC: NDArray[np.float64], sizes: Sequence[int]) -> list[NDArray[np.float64]]:
    """The scores [V, C] of each head, of those of all heads one after the other."""
    return np.split(scores_VC, np.cumsum(sizes)[:-1], axis=1)

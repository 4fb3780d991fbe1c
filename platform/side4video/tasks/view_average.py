"""Scores of videos averaged over views and workers, the same to the last bit for any number of workers.

A score is rounded to a multiple of `STEP` before it is added. Sums of up to 4,096 such numbers of at most 1 are exact
in float64, so their order does not matter. Two scores that differ by less than `STEP` may tie.

Legend: B rows of a batch, V videos, C columns of scores, K columns of targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.engine.evaluate import ViewAccuracy
from side4video.engine.process_group import ProcessGroup

STEP = 2.0**-40
"""About 1e-12; the smallest probability that differs from 0."""
LOSS_STEP = 2.0**-30
"""The same for the loss of a batch, whose sums are exact up to 4 million."""


@dataclass(frozen=True)
class AveragedScores:
    """The videos of which at least one view could be read."""

    indices_V: NDArray[np.int64]
    """Positions in the list of clips, ascending."""
    scores_VC: NDArray[np.float64]
    targets_VK: NDArray[np.int64]
    views: int
    """Views of a video that were averaged."""
    loss: float
    """Mean over videos and views."""


@dataclass(frozen=True)
class AveragedEvaluation:
    """An evaluation that is made of averaged scores. A subclass has the metrics of its task and writes its files."""

    found: AveragedScores
    metrics: dict[str, float]
    class_metrics: dict[str, float] = field(default_factory=dict)
    """A metric of each class, by name; empty where a task has none."""
    per_view: tuple[ViewAccuracy, ...] = ()
    """Empty: views are not evaluated one by one."""

    @property
    def indices_V(self) -> NDArray[np.int64]:  # noqa: N802 - the name of an array with its shape
        """Positions in the list of clips of the readable videos, ascending."""
        return self.found.indices_V

    @property
    def scores_VC(self) -> NDArray[np.float64]:  # noqa: N802
        """Their scores."""
        return self.found.scores_VC

    @property
    def loss(self) -> float:
        """Mean over videos and views."""
        return self.found.loss

    @property
    def views(self) -> int:
        """Views of a video that were averaged."""
        return self.found.views

    @property
    def videos(self) -> int:
        """Number of readable videos."""
        return len(self.found.indices_V)

    def fit(self) -> dict[str, float]:
        """Nothing is fitted on a validation split."""
        return {}

    def fitted_metrics(self, validation: Mapping[str, float]) -> dict[str, float]:  # noqa: ARG002 - an interface
        """Empty: nothing is fitted."""
        return {}


class ViewAverage:
    """Sums scores by the index of the video."""

    def __init__(self, videos: int, *, columns: int, targets: int) -> None:
        """Start without scores: `videos` of the list, `columns` of scores, and `targets` of a video."""
        self.scores_VC = np.zeros((videos, columns))
        self.targets_VK = np.zeros((videos, targets), np.int64)
        self.views_V = np.zeros(videos, np.int64)
        self.loss = 0.0

    def add(self, indices_B: Any, scores_BC: Any, targets_BK: Any, *, loss: float) -> None:
        """Add a batch of tensors. Scores are from 0 to 1; `loss` is summed over its rows.

        A video can be in it several times, once for each view.
        """
        indices = indices_B.cpu().numpy()
        np.add.at(self.scores_VC, indices, np.round(scores_BC.double().cpu().numpy() / STEP) * STEP)
        np.add.at(self.views_V, indices, 1)
        self.targets_VK[indices] = targets_BK.cpu().numpy()
        self.loss += float(np.round(loss / LOSS_STEP)) * LOSS_STEP

    def compute(self, process: ProcessGroup) -> AveragedScores:
        """The averages over all workers. Collective."""
        scores_VC, targets_VK = np.zeros_like(self.scores_VC), np.zeros_like(self.targets_VK)
        views_V, loss = np.zeros_like(self.views_V), 0.0
        for part in process.gather(self):
            scores_VC += part.scores_VC
            read_V = part.views_V > 0
            targets_VK[read_V] = part.targets_VK[read_V]
            views_V += part.views_V
            loss += part.loss
        found_V = np.flatnonzero(views_V)
        return AveragedScores(
            indices_V=found_V.astype(np.int64),
            scores_VC=scores_VC[found_V] / views_V[found_V, None],
            targets_VK=targets_VK[found_V],
            views=int(views_V.max(initial=0)),
            loss=loss / max(1, int(views_V.sum())),
        )

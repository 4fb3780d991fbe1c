"""Recognition metrics, from scores averaged over views. Fractions, in float64.

Ties count against a model: a constant model scores zero, not the share of the class that happens to come first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def label_ranks(scores_NC: NDArray[np.float64], labels_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """0-based rank of each sample's label: how many other classes score at least as much. NaN ranks last."""
    own_N1 = np.take_along_axis(scores_NC, labels_N[:, None], axis=1)
    ranks_N = (scores_NC >= own_N1).sum(axis=1) - 1
    return np.where(np.isfinite(own_N1[:, 0]), ranks_N, scores_NC.shape[1] - 1).astype(np.int64)


def recognition_metrics(ranks_N: NDArray[np.int64], labels_N: NDArray[np.int64], *, classes: int) -> dict[str, float]:
    """`top1`, `top5` and `mean_class_accuracy` (over the classes that occur); fractions."""
    if not len(labels_N):
        return {"top1": float("nan"), "top5": float("nan"), "mean_class_accuracy": float("nan")}
    by_class = class_accuracy(ranks_N, labels_N, classes=classes)
    return {
        "top1": float(np.mean(ranks_N < 1)),
        "top5": float(np.mean(ranks_N < 5)),
        "mean_class_accuracy": float(np.nanmean(by_class)),
    }


def class_accuracy(ranks_N: NDArray[np.int64], labels_N: NDArray[np.int64], *, classes: int) -> NDArray[np.float64]:
    """Top-1 accuracy of each class [classes]; NaN for one without a sample."""
    counts_C = np.bincount(labels_N, minlength=classes).astype(np.float64)
    right_C = np.bincount(labels_N, weights=(ranks_N < 1).astype(np.float64), minlength=classes)
    return np.divide(right_C, counts_C, out=np.full(classes, np.nan), where=counts_C > 0)


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

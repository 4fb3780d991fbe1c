"""The metrics of action recognition, from scores averaged over views. Fractions, in float64.

A new metric is one more `MetricSpec` in `METRICS`: records, tables, figures, model cards and sweeps read this list.

Ties count against a model: a constant model scores zero, not the share of the class that happens to come first.

Legend: N videos, C classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from side4video.core.metric import MetricSpec
from side4video.tasks.recognition.score_metrics import (
    calibration_error,
    macro_f1,
    mean_auroc,
    mean_average_precision,
    negative_log_likelihood,
)

if TYPE_CHECKING:  # documents read this list, and are to be read in a moment
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """What the metrics are computed from: the videos of an evaluation that have a label."""

    scores_NC: "NDArray[np.float64]"
    """Probabilities, averaged over the views of a video."""
    labels_N: "NDArray[np.int64]"

    @cached_property
    def are_finite(self) -> bool:
        """Whether all scores are numbers."""
        import numpy as np

        return bool(np.isfinite(self.scores_NC).all())

    @cached_property
    def ranks(self) -> "NDArray[np.int64]":
        """See `label_ranks`."""
        return label_ranks(self.scores_NC, self.labels_N)

    @cached_property
    def class_accuracy(self) -> "NDArray[np.float64]":
        """See `class_accuracy`."""
        return class_accuracy(self.ranks, self.labels_N, classes=self.scores_NC.shape[1])


def mean_class_accuracy(found: Scores) -> float:
    """Over the classes that occur."""
    accuracy_C = found.class_accuracy
    return float(accuracy_C[accuracy_C == accuracy_C].mean())  # without NaN


def _of_scores(
    name: str,
    title: str,
    compute: "Callable[[NDArray[np.float64], NDArray[np.int64]], float]",
    *,
    better: Literal["max", "min"] = "max",
    unit: Literal["%", ""] = "%",
) -> MetricSpec:
    def of(found: Scores) -> float:
        return compute(found.scores_NC, found.labels_N) if found.are_finite else float("nan")

    return MetricSpec(name, title, of, better=better, unit=unit, in_summary=False)


METRICS = (
    MetricSpec("top1", "top-1", lambda found: float((found.ranks < 1).mean()), hub=("accuracy", "top-1 accuracy")),
    MetricSpec("top5", "top-5", lambda found: float((found.ranks < 5).mean()), hub=("accuracy", "top-5 accuracy")),
    MetricSpec(
        "mean_class_accuracy",
        "mean class accuracy",
        mean_class_accuracy,
        hub=("accuracy", "mean class accuracy"),
        in_summary=False,
    ),
    _of_scores("macro_f1", "macro F1", macro_f1),
    _of_scores("mean_average_precision", "mean average precision", mean_average_precision),
    _of_scores("mean_auroc", "mean AUROC", mean_auroc),
    _of_scores("calibration_error", "calibration error", calibration_error, better="min"),
    _of_scores("nll", "negative log-likelihood", negative_log_likelihood, better="min", unit=""),
)
"""The first one selects the best epoch."""


def recognition_metrics(scores: Scores, extra: tuple[MetricSpec, ...] = ()) -> dict[str, float]:
    """Each metric by name, those of plug-ins (`extra`) too; NaN without videos."""
    own = {each.name: each.compute(scores) if len(scores.labels_N) else float("nan") for each in METRICS}
    return own | {each.name: each.value(scores) if len(scores.labels_N) else float("nan") for each in extra}


def harmonic_mean(base: float, novel: float) -> float:
    """Of the accuracies on base and novel classes; 0 if one of them is 0."""
    return 2 * base * novel / (base + novel) if base and novel else 0.0


def label_ranks(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """0-based rank of each video's label: how many other classes score at least as much. NaN ranks last."""
    import numpy as np

    own_N1 = np.take_along_axis(scores_NC, labels_N[:, None], axis=1)
    ranks_N = (scores_NC >= own_N1).sum(axis=1) - 1
    return np.where(np.isfinite(own_N1[:, 0]), ranks_N, scores_NC.shape[1] - 1).astype(np.int64)


def class_accuracy(
    ranks_N: "NDArray[np.int64]", labels_N: "NDArray[np.int64]", *, classes: int
) -> "NDArray[np.float64]":
    """Top-1 accuracy of each class [C]; NaN for a class without a video."""
    import numpy as np

    counts_C = np.bincount(labels_N, minlength=classes).astype(np.float64)
    right_C = np.bincount(labels_N, weights=(ranks_N < 1).astype(np.float64), minlength=classes)
    return np.divide(right_C, counts_C, out=np.full(classes, np.nan), where=counts_C > 0)

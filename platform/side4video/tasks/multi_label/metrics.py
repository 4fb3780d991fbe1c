"""The metrics of several labels a clip, from scores averaged over views. Fractions, in float64.

Average precision is scikit-learn's: the precision at each different score, weighted by the gain in recall. Equal
scores are one step, so ties are neither in favour of a model nor against it.

Legend: N videos, C classes.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from side4video.core.metric import MetricSpec

if TYPE_CHECKING:  # documents read this list, and are to be read in a moment
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelScores:
    """What the metrics are computed from: all readable videos, those without any of the classes too."""

    scores_NC: "NDArray[np.float64]"
    """Probabilities of each class by itself, averaged over the views of a video."""
    targets_NC: "NDArray[np.int64]"
    """1 where a video has a class, otherwise 0."""

    @cached_property
    def are_finite(self) -> bool:
        """Whether all scores are numbers."""
        import numpy as np

        return bool(np.isfinite(self.scores_NC).all())

    @cached_property
    def class_precision(self) -> "NDArray[np.float64]":
        """Average precision of each class [C]; NaN for a class without a video, and if a score is not finite."""
        import numpy as np
        from sklearn.metrics import average_precision_score

        found_C = np.full(self.scores_NC.shape[1], np.nan)
        if self.are_finite:
            for number in np.flatnonzero(self.targets_NC.any(axis=0)):
                found_C[number] = average_precision_score(self.targets_NC[:, number], self.scores_NC[:, number])
        return found_C


def mean_average_precision(found: LabelScores) -> float:
    """Mean over the classes that some video has; NaN without one, and if a score is not finite."""
    precision_C = found.class_precision
    known = precision_C[precision_C == precision_C]  # without NaN
    return float(known.mean()) if len(known) else math.nan


def micro_average_precision(found: LabelScores) -> float:
    """Average precision over all pairs of a video and a class; NaN without a label, and if a score is not finite."""
    from sklearn.metrics import average_precision_score

    if not found.are_finite or not found.targets_NC.any():
        return math.nan
    return float(average_precision_score(found.targets_NC.ravel(), found.scores_NC.ravel()))


METRICS = (
    MetricSpec("map", "mAP", mean_average_precision, hub=("mean_average_precision", "mAP")),
    MetricSpec("map_micro", "micro mAP", micro_average_precision, in_summary=False),
)
"""The first one selects the best epoch."""


def label_metrics(scores: LabelScores) -> dict[str, float]:
    """Each metric by name; NaN without videos."""
    return {each.name: each.compute(scores) if len(scores.scores_NC) else math.nan for each in METRICS}

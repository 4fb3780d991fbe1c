"""The metrics of several heads, from scores averaged over views. Fractions, in float64.

Those of all heads together are named `action_...`, as in EPIC-KITCHENS-100, whose actions are pairs of a verb and a
noun (Damen et al., 2022, arXiv 2006.13256). An action's score is the product of its classes' scores, and all
combinations are ranked, whether they occur or not. Ties count against a model.

Legend: N videos, C classes, S heads, R classes of a head that can be among the first, K combinations of these.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from side4video.core.metric import MetricSpec
from side4video.tasks.recognition.metrics import label_ranks

if TYPE_CHECKING:  # documents read this list, and are to be read in a moment
    import numpy as np
    from numpy.typing import NDArray

FIRST = 5
"""Places that the metrics look at."""


@dataclass(frozen=True)
class HeadScores:
    """What the metrics are computed from: the videos that have a label of each head."""

    scores_SNC: "tuple[NDArray[np.float64], ...]"
    """Probabilities [N, C] of each head, averaged over the views of a video."""
    labels_NS: "NDArray[np.int64]"

    @cached_property
    def action_ranks(self) -> "NDArray[np.int64]":
        """See `action_ranks`."""
        return action_ranks(self.scores_SNC, self.labels_NS)

    def head_ranks(self, number: int) -> "NDArray[np.int64]":
        """The 0-based rank of each video's label of a head."""
        return label_ranks(self.scores_SNC[number], self.labels_NS[:, number])


def action_ranks(scores_SNC: "Sequence[NDArray[np.float64]]", labels_NS: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """0-based rank [N] of each video's combination of labels among all combinations; `FIRST` from there on.

    It is how many other combinations score at least as much. A video with a score of its labels that is no number has
    the last rank.

    Only combinations of each head's `FIRST` + 1 highest scores are counted. If another combination scores as much as
    the labels', then so do those that have one of these scores in its place, which are more than `FIRST`.
    """
    import numpy as np

    products_N1 = np.ones((len(labels_NS), 1))
    own_N = np.ones(len(labels_NS))
    for number, scores_NC in enumerate(scores_SNC):
        highest_NR = -np.sort(-np.nan_to_num(scores_NC, nan=0.0), axis=1)[:, : FIRST + 1]
        products_N1 = (products_N1[:, :, None] * highest_NR[:, None, :]).reshape(len(labels_NS), -1)
        own_N = own_N * np.take_along_axis(scores_NC, labels_NS[:, number, None], axis=1)[:, 0]
    ranks_N = np.minimum((products_N1 >= own_N[:, None]).sum(axis=1) - 1, FIRST)
    return np.where(np.isfinite(own_N), ranks_N, FIRST).astype(np.int64)


def mean_class_recall(ranks_N: "NDArray[np.int64]", labels_N: "NDArray[np.int64]") -> float:
    """Mean over the classes that occur of the share of their videos whose label is among the first `FIRST`."""
    import numpy as np

    _, places_N = np.unique(labels_N, return_inverse=True)
    counts_C = np.bincount(places_N)
    return float((np.bincount(places_N, weights=(ranks_N < FIRST).astype(np.float64)) / counts_C).mean())


def _action_recall(found: HeadScores) -> float:
    import numpy as np

    _, actions_N = np.unique(found.labels_NS, axis=0, return_inverse=True)
    return mean_class_recall(found.action_ranks, actions_N.reshape(-1))


METRICS = (
    MetricSpec("action_top1", "action top-1", lambda found: float((found.action_ranks < 1).mean())),
    MetricSpec("action_top5", "action top-5", lambda found: float((found.action_ranks < FIRST).mean())),
    MetricSpec(
        "action_class_recall5",
        "action mean class recall@5",
        _action_recall,
        heading="action class R@5",
        in_summary=False,
    ),
)
"""Of all heads together; the first one selects the best epoch."""

OF_HEADS = {"top1": "top-1", "top5": "top-5", "class_recall5": "mean class recall@5"}
"""Ends of the names of metrics of one head, such as `verb_top1`, and their titles."""


def head_metrics(scores: HeadScores, heads: Sequence[str]) -> dict[str, float]:
    """Each metric by name: those of all heads together, then those of each; NaN without videos."""
    is_empty = not len(scores.labels_NS)
    found = {each.name: math.nan if is_empty else each.compute(scores) for each in METRICS}
    for number, head in enumerate(heads):
        if is_empty:
            found |= {f"{head}_{end}": math.nan for end in OF_HEADS}
            continue
        ranks_N = scores.head_ranks(number)
        recall = mean_class_recall(ranks_N, scores.labels_NS[:, number])
        values = (float((ranks_N < 1).mean()), float((ranks_N < FIRST).mean()), recall)
        found |= {f"{head}_{end}": value for end, value in zip(OF_HEADS, values, strict=True)}
    return found

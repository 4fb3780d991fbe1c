"""Tests whether a difference of mean average precision may be due to the choice of test videos.

The paired bootstrap (Efron, 1979): videos are drawn with replacement, and both arms are evaluated on the same draws. A
draw gives each video a count, and average precision with these counts as weights is that of the drawn videos. A class
without a drawn video has none in that draw, for both arms.

Legend: N videos, C classes, D draws, E steps of a precision-recall curve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from side4video.reports.arms import ArmResult, SeedResult
from side4video.reports.significance import LEVEL, Comparison, interval_of_draws

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAP_DRAWS = 2_000
"""Resamples: each needs the curves of all classes."""
_COUNTS_AT_ONCE = 4_000_000
"""Weights in memory at a time (8 bytes each)."""


@dataclass(frozen=True)
class VideoScores:
    """A run's scores of the test videos, and their classes."""

    indices_N: "NDArray[np.int64]"
    """Positions in the list of clips, ascending."""
    scores_NC: "NDArray[np.float64]"
    targets_NC: "NDArray[np.int64]"
    """1 where a video has a class, otherwise 0."""

    def of(self, indices: "NDArray[np.int64]") -> "VideoScores":
        """Those of some of the videos."""
        import numpy as np

        rows = np.searchsorted(self.indices_N, indices)
        return VideoScores(indices, self.scores_NC[rows], self.targets_NC[rows])


def weighted_map(found: VideoScores, weights_DN: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Mean average precision [D] of the videos with each row of weights; NaN without a label.

    Average precision is scikit-learn's: equal scores are one step. The mean is over the classes with a weight.
    """
    import numpy as np

    totals_D, counts_D = np.zeros(len(weights_DN)), np.zeros(len(weights_DN))
    for scores_N, targets_N in zip(found.scores_NC.T, found.targets_NC.T, strict=True):
        order = np.argsort(-scores_N, kind="stable")
        sorted_N, has_N = scores_N[order], targets_N[order] > 0
        ends_E = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True))
        # Recall grows in steps with a video of the class alone.
        gains_E = np.diff(np.concatenate([[0], np.cumsum(has_N)[ends_E]])) > 0
        ends_E = ends_E[gains_E]
        if not len(ends_E):
            continue
        drawn_DN = weights_DN[:, order]
        every_DE = np.cumsum(drawn_DN, axis=1)[:, ends_E]
        right_DE = np.cumsum(drawn_DN * has_N, axis=1)[:, ends_E]
        steps_DE = np.diff(right_DE, axis=1, prepend=0.0)
        precision_DE = right_DE / np.maximum(every_DE, 1e-300)
        right_D = right_DE[:, -1]
        totals_D += (steps_DE * precision_DE).sum(axis=1) / np.maximum(right_D, 1e-300)
        counts_D += right_D > 0
    return np.where(counts_D > 0, totals_D / np.maximum(counts_D, 1), np.nan)


def map_of_draws(found: VideoScores, *, draws: int, seed: int) -> "NDArray[np.float64]":
    """Mean average precision [D] of resampled videos. The draws depend on the seed and the number of videos alone."""
    import numpy as np

    rng, videos = np.random.default_rng(seed), len(found.indices_N)
    made, chunk = [], max(1, _COUNTS_AT_ONCE // videos)
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        made.append(weighted_map(found, rng.multinomial(videos, np.full(videos, 1 / videos), size).astype(np.float64)))
    return np.concatenate(made)


def compare_labels(
    reference_row: ArmResult, row: ArmResult, *, draws: int = MAP_DRAWS, seed: int = 0, level: float = LEVEL
) -> Comparison | None:
    """Compare the mean average precision of an arm with the reference's; None if they share no video and seed.

    Only finished runs are compared, on the videos that all of them could read. Values are averaged over common seeds
    before the interval, so it does not cover other seeds. `p_adjusted` is not corrected yet (`significance.adjust`).
    """
    import numpy as np

    reference, arm = _by_seed(reference_row.runs), _by_seed(row.runs)
    seeds = sorted(reference.keys() & arm.keys())
    every = [runs[each] for each in seeds for runs in (reference, arm)]
    if not every:
        return None
    shared = every[0].indices_N
    for each in every[1:]:
        shared = np.intersect1d(shared, each.indices_N)
    every = [each.of(shared) for each in every]
    if not len(shared) or any(not np.array_equal(each.targets_NC, every[0].targets_NC) for each in every):
        return None

    def mean(runs: Mapping[int, VideoScores]) -> "tuple[float, NDArray[np.float64]]":
        """The value of all videos and those of the draws, as means over the seeds."""
        chosen, whole = [runs[each].of(shared) for each in seeds], np.ones((1, len(shared)))
        values = [float(weighted_map(each, whole)[0]) for each in chosen]
        return float(np.mean(values)), np.mean([map_of_draws(each, draws=draws, seed=seed) for each in chosen], axis=0)

    (value, drawn), (before, drawn_before) = mean(arm), mean(reference)
    # A draw without any label has no value for either.
    differences = (drawn - drawn_before)[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(differences):
        return None
    low, high, p = interval_of_draws(differences, level=level, tie=1e-12)
    return Comparison(
        difference=value - before, low=low, high=high, p=p, p_adjusted=p, videos=len(shared), seeds=len(seeds)
    )


def map_of(run: SeedResult) -> float:
    """Mean average precision of a run's stored scores; NaN without them."""
    import numpy as np

    found = run.scores
    return float(weighted_map(found, np.ones((1, len(found.indices_N))))[0]) if found is not None else np.nan


def _by_seed(runs: Sequence[SeedResult]) -> dict[int, VideoScores]:
    return {run.seed: run.scores for run in runs if run.state == "finished" and run.scores is not None}

"""Tests whether the difference of two arms may be due to the choice of test videos.

Both tests use paired predictions. The exact McNemar test (McNemar, 1947) checks whether the videos that only one arm
classifies correctly favour one of the arms. The paired bootstrap (Efron, 1979) estimates how much the difference would
change with another sample of videos. Neither covers the variation over seeds, which tables show as a deviation.

Legend: N videos, G groups of videos with the same difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from side4video.reports.arms import ArmResult, SeedResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Outcomes = Mapping[int, Mapping[int, bool]]
"""Whether the prediction is correct, by seed and video index."""

DRAWS = 10_000
LEVEL = 0.95
_COUNTS_AT_ONCE = 4_000_000
"""Resampled counts in memory at a time (8 bytes each)."""


@dataclass(frozen=True)
class McNemar:
    """An exact McNemar test."""

    only_a: int
    """Pairs that only the first arm classifies correctly."""
    only_b: int
    p: float
    """Two-sided."""


@dataclass(frozen=True)
class Bootstrap:
    """A paired bootstrap of a difference of means, in the scores' unit."""

    difference: float
    """Mean of the first minus mean of the second."""
    low: float
    high: float
    p: float
    """Two-sided; never below 2 / (draws + 1)."""


@dataclass(frozen=True)
class Comparison:
    """An arm compared with the reference, on the videos and seeds of both. Values are fractions."""

    difference: float
    """The arm's accuracy minus the reference's."""
    low: float
    """Lower end of the bootstrap interval of the difference."""
    high: float
    p: float
    """Of the McNemar test, or of the bootstrap where there is no right or wrong."""
    p_adjusted: float
    """`p` after Holm's correction over the comparisons of a table."""
    videos: int
    seeds: int
    only_reference: int | None = None
    """Pairs of video and seed that only the reference classifies correctly; None without a McNemar test."""
    only_arm: int | None = None

    @property
    def p_mcnemar(self) -> float | None:
        """The p-value of the McNemar test; None if the metric has none."""
        return None if self.only_arm is None else self.p

    @property
    def p_bootstrap(self) -> float | None:
        """The p-value of the bootstrap, where it stands for the McNemar test."""
        return self.p if self.only_arm is None else None


def mcnemar(a: Outcomes, b: Outcomes) -> McNemar | None:
    """The exact two-sided McNemar test of two arms; None if they share no video of the same seed.

    A pair is one video with one seed. Discordant pairs are summed over common seeds, as if all pairs were independent.
    The test always assumes this for videos. For seeds it is wrong if the arms differ on the same videos with several
    seeds; the p-value is then too small. With one seed no such assumption is needed.
    """
    from scipy.stats import binomtest

    only_a = only_b = pairs = 0
    for seed in a.keys() & b.keys():
        for video in a[seed].keys() & b[seed].keys():
            pairs += 1
            only_a += bool(a[seed][video] and not b[seed][video])
            only_b += bool(b[seed][video] and not a[seed][video])
    if not pairs:
        return None
    discordant = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, discordant).pvalue) if discordant else 1.0)


def paired_bootstrap(
    a_N: "ArrayLike", b_N: "ArrayLike", *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Bootstrap:
    """Resample videos with replacement; the scores of both arms for a video stay paired.

    The counts of distinct differences are drawn from a multinomial distribution. Correctness has few distinct
    differences, so the cost does not depend on the number of videos. Swapping `a` and `b` swaps the ends of the
    interval and their signs, bit-exact.

    Args:
        a_N: A score of each video [N], such as correctness or recall at k, possibly averaged over seeds.
        b_N: The other arm's scores of the same videos in the same order.
        draws: Number of resamples.
        seed: Seed of the resampling.
        level: Level of the percentile interval, a fraction.

    Raises:
        ValueError: If there are no videos, or the lengths differ.
    """
    import numpy as np

    a_N, b_N = np.asarray(a_N, np.float64), np.asarray(b_N, np.float64)
    if a_N.ndim != 1 or a_N.shape != b_N.shape or not a_N.size:
        raise ValueError(f"paired scores are two vectors of one length above zero, not {a_N.shape} and {b_N.shape}")
    values_G, first_G, counts_G = np.unique(a_N - b_N, return_index=True, return_counts=True)
    # Order by first occurrence: ordered by value, swapped arms would get other random numbers.
    order_G = np.argsort(first_G)
    values_G, shares_G = values_G[order_G], counts_G[order_G] / a_N.size
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    chunk = max(1, _COUNTS_AT_ONCE // len(values_G))
    for start in range(0, draws, chunk):
        part = means[start : start + chunk]
        part[:] = rng.multinomial(a_N.size, shares_G, size=len(part)) @ values_G / a_N.size
    # Sums of thirds do not cancel to exactly zero.
    low, high, p = interval_of_draws(means, level=level, tie=1e-12 * float(np.abs(values_G).max()))
    return Bootstrap(difference=float((a_N - b_N).mean()), low=low, high=high, p=p)


def interval_of_draws(differences: "NDArray[np.float64]", *, level: float, tie: float) -> tuple[float, float, float]:
    """The ends of the percentile interval of resampled differences, and the two-sided p-value of a difference.

    Differences of at most `tie` count on both sides. Differences with the other sign swap the ends and their signs,
    bit-exact.
    """
    import numpy as np

    draws = len(differences)
    # Order statistics, because interpolated quantiles round differently at the two ends.
    outside = min(int(draws * (1 - level) / 2), (draws - 1) // 2)
    ordered = np.sort(differences)
    beyond = min(int((differences <= tie).sum()), int((differences >= -tie).sum()))
    return float(ordered[outside]), float(ordered[draws - 1 - outside]), min(1.0, 2 * (beyond + 1) / (draws + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's step-down correction (Holm, 1979), in the given order.

    Rejecting at adjusted values below 5% keeps the family-wise error rate below 5%, for any dependence of the tests.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare(
    reference_row: ArmResult, row: ArmResult, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Comparison | None:
    """Compare the predictions of an arm with the reference's; None if they share no video and seed.

    Only finished runs are compared. The scores of a video are averaged over common seeds before resampling, so the
    interval does not cover other seeds. `p_adjusted` is not corrected yet (see `adjust`).
    """
    reference, arm = _correct_by_seed(reference_row.runs), _correct_by_seed(row.runs)
    test = mcnemar(reference, arm)
    if test is None:
        return None
    reference_N, arm_N = paired_scores(reference, arm)
    interval = paired_bootstrap(arm_N, reference_N, draws=draws, seed=seed, level=level)
    return Comparison(
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        p=test.p,
        p_adjusted=test.p,
        only_reference=test.only_a,
        only_arm=test.only_b,
        videos=len(arm_N),
        seeds=sum(bool(reference[each].keys() & arm[each].keys()) for each in reference.keys() & arm.keys()),
    )


def adjust(comparisons: Sequence[Comparison | None]) -> list[Comparison | None]:
    """Apply Holm's correction over the comparisons of one table; None entries are ignored."""
    made = [each for each in comparisons if each is not None]
    adjusted = iter(holm([each.p for each in made]))
    return [None if each is None else replace(each, p_adjusted=next(adjusted)) for each in comparisons]


def paired_scores(a: Outcomes, b: Outcomes) -> tuple[list[float], list[float]]:
    """The fraction of common seeds with which each arm is correct, for each common video [N]."""
    sums: dict[int, tuple[int, int, int]] = {}
    for seed in a.keys() & b.keys():
        for video in a[seed].keys() & b[seed].keys():
            right_a, right_b, seeds = sums.get(video, (0, 0, 0))
            sums[video] = (right_a + bool(a[seed][video]), right_b + bool(b[seed][video]), seeds + 1)
    videos = sorted(sums)
    return [sums[v][0] / sums[v][2] for v in videos], [sums[v][1] / sums[v][2] for v in videos]


def _correct_by_seed(runs: Sequence[SeedResult]) -> Outcomes:
    return {run.seed: run.correct for run in runs if run.state == "finished" and run.correct}

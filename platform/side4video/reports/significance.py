"""Whether two arms differ by more than the choice of held-out videos explains.

Two questions, both on paired predictions: the exact McNemar test (McNemar, 1947) asks whether the videos on which just
one of the arms is right favour one of them; the paired bootstrap (Efron, 1979) says how far the difference would move
with another sample of videos. Neither speaks of other seeds: that is the spread over seeds beside them.

Legend: N videos, G groups of videos with the same difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from side4video.reports.arms import ArmResult, SeedResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Outcomes = Mapping[int, Mapping[int, bool]]
"""Whether an arm was right: by seed, then by video index."""

DRAWS = 10_000
LEVEL = 0.95
_COUNTS_AT_ONCE = 4_000_000
"""Resampled counts held at a time (8 bytes each)."""


@dataclass(frozen=True)
class McNemar:
    """An exact McNemar test."""

    only_a: int
    """Pairs on which only the first arm is right."""
    only_b: int
    p: float
    """Two-sided."""


@dataclass(frozen=True)
class Bootstrap:
    """A paired bootstrap of a difference of means, in the unit of the scores."""

    difference: float
    """Mean of the first less mean of the second."""
    low: float
    high: float
    p: float
    """Two-sided; never below 2 / (draws + 1)."""


@dataclass(frozen=True)
class Comparison:
    """An arm against the reference, on the videos and seeds that both have; fractions."""

    difference: float
    """The arm's share of right videos less the reference's."""
    low: float
    """Lower end of the bootstrap interval of the difference."""
    high: float
    p_mcnemar: float
    p_adjusted: float
    """The same after Holm's correction over the comparisons of a table; for one comparison it is the same."""
    only_reference: int
    """Pairs of a video and a seed on which only the reference is right."""
    only_arm: int
    videos: int
    seeds: int


def mcnemar(a: Outcomes, b: Outcomes) -> McNemar | None:
    """The exact two-sided McNemar test of two arms; None if they share no video of the same seed.

    A pair is one video with one seed. With several common seeds the discordant pairs are summed over them. That
    treats the pairs as independent: given the null hypothesis, whether a discordant pair favours `a` is a fair coin
    each time. Over videos this is what the test always assumes. Over seeds it holds only as far as a video on which
    the arms differ with one seed does not make them differ the same way with another; if it does, the p-value of the
    sum is too small. One seed needs no such assumption.

    Args:
        a: By seed and video index, whether the first arm was right.
        b: The same of the second.
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
    """Resample videos, with both arms' scores of a video kept together.

    Resampling N videos with replacement is a multinomial draw of how often each distinct difference comes up, so that
    correctness, which knows a handful of differences, costs the same for a hundred videos and for a million. Swapping
    `a` and `b` swaps the ends of the interval and their signs, bit by bit.

    Args:
        a_N: A score of each video [N]: right or wrong, recall at k, a reciprocal rank; any mean over seeds of these.
        b_N: The other arm's, of the same videos in the same order.
        draws: How often to resample.
        seed: The same seed gives the same result.
        level: Of the percentile interval, a fraction.

    Raises:
        ValueError: For no videos, or not as many of one arm as of the other.
    """
    import numpy as np

    a_N, b_N = np.asarray(a_N, np.float64), np.asarray(b_N, np.float64)
    if a_N.ndim != 1 or a_N.shape != b_N.shape or not a_N.size:
        raise ValueError(f"paired scores are two vectors of one length above zero, not {a_N.shape} and {b_N.shape}")
    values_G, first_G, counts_G = np.unique(a_N - b_N, return_index=True, return_counts=True)
    # In the order in which they first occur: by value, swapping the arms would pair them with other random numbers.
    order_G = np.argsort(first_G)
    values_G, shares_G = values_G[order_G], counts_G[order_G] / a_N.size
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    chunk = max(1, _COUNTS_AT_ONCE // len(values_G))
    for start in range(0, draws, chunk):
        part = means[start : start + chunk]
        part[:] = rng.multinomial(a_N.size, shares_G, size=len(part)) @ values_G / a_N.size
    # Order statistics and not interpolated quantiles, which round differently at the two ends.
    outside = min(int(draws * (1 - level) / 2), (draws - 1) // 2)
    ordered = np.sort(means)
    # A third, twice a third and so on do not cancel to an exact zero; a tie counts on both sides.
    tie = 1e-12 * float(np.abs(values_G).max())
    beyond = min(int((means <= tie).sum()), int((means >= -tie).sum()))
    return Bootstrap(
        difference=float((a_N - b_N).mean()),
        low=float(ordered[outside]),
        high=float(ordered[draws - 1 - outside]),
        p=min(1.0, 2 * (beyond + 1) / (draws + 1)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's step-down correction (Holm, 1979), in the order given.

    An adjusted value below 5% keeps the chance of any false finding in the family below 5%, whatever the dependence.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def compare(
    reference_row: ArmResult, row: ArmResult, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Comparison | None:
    """An arm against the reference, from their predictions; None where these are missing or share no video and seed.

    Only finished runs are compared. The scores of a video are averaged over the common seeds before videos are
    resampled: the interval takes the seeds as given. `p_adjusted` is of this comparison alone (see `adjust`).
    """
    reference, arm = _outcomes(reference_row.runs), _outcomes(row.runs)
    test = mcnemar(reference, arm)
    if test is None:
        return None
    reference_N, arm_N = paired_scores(reference, arm)
    interval = paired_bootstrap(arm_N, reference_N, draws=draws, seed=seed, level=level)
    return Comparison(
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        p_mcnemar=test.p,
        p_adjusted=test.p,
        only_reference=test.only_a,
        only_arm=test.only_b,
        videos=len(arm_N),
        seeds=sum(bool(reference[each].keys() & arm[each].keys()) for each in reference.keys() & arm.keys()),
    )


def adjust(comparisons: Sequence[Comparison | None]) -> list[Comparison | None]:
    """The comparisons of one table with Holm's correction over those that could be made."""
    made = [each for each in comparisons if each is not None]
    adjusted = iter(holm([each.p_mcnemar for each in made]))
    return [None if each is None else replace(each, p_adjusted=next(adjusted)) for each in comparisons]


def paired_scores(a: Outcomes, b: Outcomes) -> tuple[list[float], list[float]]:
    """For each video that both arms have, in order, the share of common seeds with which each arm is right [N]."""
    sums: dict[int, tuple[int, int, int]] = {}
    for seed in a.keys() & b.keys():
        for video in a[seed].keys() & b[seed].keys():
            right_a, right_b, seeds = sums.get(video, (0, 0, 0))
            sums[video] = (right_a + bool(a[seed][video]), right_b + bool(b[seed][video]), seeds + 1)
    videos = sorted(sums)
    return [sums[v][0] / sums[v][2] for v in videos], [sums[v][1] / sums[v][2] for v in videos]


def _outcomes(runs: Sequence[SeedResult]) -> Outcomes:
    return {run.seed: run.correct for run in runs if run.state == "finished" and run.correct}

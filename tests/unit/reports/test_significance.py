"""The tests between arms: against brute force, known values and simulated truth. Each property has a faulty twin."""

import itertools
import math
import statistics
import tracemalloc

import numpy as np
import pytest

from side4video.reports.arms import spread
from side4video.reports.significance import Bootstrap, McNemar, adjust, compare, holm, mcnemar, paired_bootstrap

# ---- mean and deviation


def test_deviation_is_of_a_sample_and_unknown_for_one_seed():
    assert spread([1.0, 2.0, 4.0]).deviation == pytest.approx(statistics.stdev([1, 2, 4]))
    assert spread([1.0, 2.0, 4.0]).deviation != pytest.approx(statistics.pstdev([1, 2, 4]))
    assert (spread([0.5]).mean, spread([0.5]).count) == (0.5, 1)
    assert math.isnan(spread([0.5]).deviation)
    assert math.isnan(spread([]).mean)
    assert spread([0.5, math.nan]).mean == 0.5


# ---- McNemar


def outcomes(only_a, only_b, both=3, neither=2):
    pairs = [(True, False)] * only_a + [(False, True)] * only_b + [(True, True)] * both + [(False, False)] * neither
    return {0: {i: a for i, (a, _) in enumerate(pairs)}}, {0: {i: b for i, (_, b) in enumerate(pairs)}}


def enumerated_p(only_a, only_b):
    """All ways in which fair coins could favour either arm, no closer to even than what was seen."""
    coins = only_a + only_b
    ways = [abs(2 * sum(each) - coins) >= abs(only_a - only_b) for each in itertools.product((0, 1), repeat=coins)]
    return sum(ways) / len(ways)


def agrees_with_enumeration(test):
    cases = [(a, b) for a in range(5) for b in range(6)]
    return all(test(*outcomes(a, b)) == McNemar(a, b, pytest.approx(enumerated_p(a, b))) for a, b in cases)


def one_sided(a, b):
    found = mcnemar(a, b)
    return McNemar(found.only_a, found.only_b, found.p / 2)


def on_all_pairs(a, b):
    """Takes the pairs on which both arms are right for evidence."""
    both = sum(a[0][i] and b[0][i] for i in a[0])
    return mcnemar(*outcomes(mcnemar(a, b).only_a + both, mcnemar(a, b).only_b + both))


def test_mcnemar_is_what_enumeration_says():
    assert agrees_with_enumeration(mcnemar)


@pytest.mark.parametrize("twin", [one_sided, on_all_pairs])
def test_a_wrong_mcnemar_is_noticed(twin):
    assert not agrees_with_enumeration(twin)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (5, 15, 43400 / 2**20),
        (1, 9, 22 / 2**10),
        (86, 150, 3.716e-05),  # approval of a prime minister (Agresti), as R's exact2x2 prints it
        (0, 0, 1.0),
        (7, 7, 1.0),
    ],
)
def test_mcnemar_of_known_tables(only_a, only_b, p):
    assert mcnemar(*outcomes(only_a, only_b)).p == pytest.approx(p, rel=2e-4)
    assert mcnemar(*outcomes(only_b, only_a)).p == pytest.approx(p, rel=2e-4)


def by_index_alone(a, b):
    """Forgets the seeds: each arm's last one stands for all."""
    merged = [{0: dict(pair for right in arm.values() for pair in right.items())} for arm in (a, b)]
    return mcnemar(*merged)


def pairs_by_seed_and_index(test):
    a = {0: {1: True, 2: True, 9: True}, 1: {1: False, 2: True}, 5: {1: True, 2: True}}
    b = {0: {1: False, 2: True}, 1: {1: True, 2: False, 8: True}, 6: {1: False, 2: False}}
    found = test(a, b)
    return (found.only_a, found.only_b) == (2, 1)


def test_pairs_have_the_same_seed_and_video():
    assert pairs_by_seed_and_index(mcnemar)
    assert not pairs_by_seed_and_index(by_index_alone)


def test_nothing_in_common_is_no_test():
    assert mcnemar({0: {1: True}}, {0: {2: True}}) is None
    assert mcnemar({0: {1: True}}, {1: {1: True}}) is None
    assert mcnemar({}, {}) is None


# ---- bootstrap


def paired_sample(seed, videos=60, gain=0.1):
    """Scores of two arms that find the same videos hard; the second is better by `gain` on average."""
    rng = np.random.default_rng(seed)
    hard_N = rng.normal(size=videos)
    return hard_N + 0.3 * rng.normal(size=videos), hard_N + gain + 0.3 * rng.normal(size=videos)


def covers(bootstrap, samples=400, gain=0.1):
    """How often the interval holds the true difference."""
    held = 0
    for seed in range(samples):
        a_N, b_N = paired_sample(seed, gain=gain)
        found = bootstrap(b_N, a_N, draws=400)
        held += found.low <= gain <= found.high
    return held / samples


def unpaired(a_N, b_N, *, draws, seed=0):
    """Resamples the arms apart, as if on different videos."""
    rng = np.random.default_rng(seed)
    pick = rng.integers(0, len(a_N), (2, draws, len(a_N)))
    low, high = np.quantile(a_N[pick[0]].mean(1) - b_N[pick[1]].mean(1), [0.025, 0.975])
    return Bootstrap(float(np.mean(a_N - b_N)), low, high, p=1.0)


def too_narrow(a_N, b_N, *, draws):
    return paired_bootstrap(a_N, b_N, draws=draws, level=0.8)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    assert 0.91 <= covers(paired_bootstrap) <= 0.975


@pytest.mark.parametrize("twin", [unpaired, too_narrow])
def test_intervals_that_are_too_wide_or_too_narrow_are_noticed(twin):
    assert not 0.91 <= covers(twin) <= 0.975


def test_the_counts_resample_as_indices_do():
    rng = np.random.default_rng(3)
    a_N, b_N = rng.random(300), rng.random(300)
    found = paired_bootstrap(a_N, b_N, draws=20_000)
    means = (a_N - b_N)[rng.integers(0, 300, (20_000, 300))].mean(axis=1)
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03 * width)


def swaps_bit_by_bit(bootstrap):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a_N, b_N = rng.integers(0, 4, (2, 50)) / 3
        one, other = bootstrap(a_N, b_N, draws=500), bootstrap(b_N, a_N, draws=500)
        if (one.difference, one.low, one.high, one.p) != (-other.difference, -other.high, -other.low, other.p):
            return False
    return True


def test_swapping_the_arms_swaps_the_interval():
    assert swaps_bit_by_bit(paired_bootstrap)
    assert not swaps_bit_by_bit(unpaired)


def test_the_seed_decides_every_bit():
    a_N, b_N = paired_sample(0)
    assert paired_bootstrap(a_N, b_N, seed=4) == paired_bootstrap(a_N, b_N, seed=4)
    assert paired_bootstrap(a_N, b_N, seed=4) != paired_bootstrap(a_N, b_N, seed=5)


def test_equal_arms_have_a_p_of_one():
    same = paired_bootstrap([1, 0, 1], [1, 0, 1], draws=200)
    assert same == Bootstrap(0.0, 0.0, 0.0, 1.0)


def test_differences_that_cancel_but_for_rounding_are_a_tie():
    a_N, b_N = [1, 1 / 3], [2 / 3, 2 / 3]
    assert np.subtract(a_N, b_N).sum() != 0
    assert paired_bootstrap(a_N, b_N, draws=2000).p == 1.0


def test_a_large_difference_is_found():
    found = paired_bootstrap(np.ones(50), np.zeros(50), draws=1000)
    assert found.low == found.difference == found.high == 1.0
    assert found.p == 2 / 1001


def test_memory_is_bounded():
    rng = np.random.default_rng(0)
    a_N, b_N = rng.random((2, 1500))
    tracemalloc.start()
    paired_bootstrap(a_N, b_N, draws=6000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 70e6 < 6000 * 1500 * 8


@pytest.mark.parametrize(("a_N", "b_N"), [([], []), ([1, 0], [1]), ([[1, 0]], [[1, 0]])])
def test_scores_that_are_not_pairs_are_refused(a_N, b_N):
    with pytest.raises(ValueError, match="paired scores"):
        paired_bootstrap(a_N, b_N)


# ---- Holm


def keeps_order(correction):
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.random(int(rng.integers(1, 9))) ** 2
        adjusted = np.array(correction(p.tolist()))
        order = np.argsort(p)
        rises = (np.diff(adjusted[order]) >= 0).all()
        if not (rises and (adjusted >= p).all() and (adjusted <= np.minimum(1, len(p) * p) + 1e-12).all()):
            return False
    return True


def without_running_maximum(p_values):
    ranks = np.argsort(np.argsort(p_values))
    return [min(1.0, (len(p_values) - rank) * p) for rank, p in zip(ranks, p_values, strict=True)]


def uncorrected_first(p_values):
    return [p / 2 for p in p_values]


def test_holm_keeps_the_order_between_the_raw_value_and_bonferroni():
    assert keeps_order(holm)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("twin", [without_running_maximum, uncorrected_first])
def test_a_wrong_holm_is_noticed(twin):
    assert not keeps_order(twin)


# ---- arms


def test_an_arm_against_the_reference(arm):
    reference, better = arm("reference", 0.4), arm("better", 0.6)
    found = compare(reference, better)
    shares = [np.mean([np.mean(list(run.correct.values())) for run in row.runs]) for row in (better, reference)]
    assert found.difference == pytest.approx(shares[0] - shares[1])
    assert 0 < found.low < found.difference < found.high
    assert found.p_mcnemar == found.p_adjusted < 0.001
    assert (found.videos, found.seeds) == (200, 3)
    assert (found.only_arm - found.only_reference) / 600 == pytest.approx(found.difference)
    other_way = compare(better, reference)
    assert (other_way.difference, other_way.low, other_way.high) == (-found.difference, -found.high, -found.low)


def test_only_common_seeds_and_finished_runs_are_compared(arm):
    reference, other = arm("reference", 0.4, seeds=(0, 1, 2)), arm("other", 0.5, seeds=(1, 2, 3))
    assert compare(reference, other).seeds == 2
    stopped = arm("other", 0.5, seeds=(1, 2, 3), states=("finished", "stopped", "finished"))
    assert compare(reference, stopped).seeds == 1


def test_arms_without_predictions_or_common_seeds_are_not_compared(arm):
    reference = arm("reference", 0.4)
    assert compare(reference, arm("silent", 0.5, predicts=False)) is None
    assert compare(arm("silent", 0.5, predicts=False), reference) is None
    assert compare(reference, arm("others", 0.5, seeds=(7, 8))) is None
    assert compare(reference, arm("stopped", 0.5, states=("stopped",) * 3)) is None


def test_what_could_not_be_compared_does_not_count_in_the_correction(arm):
    reference = arm("reference", 0.5)
    made = [compare(reference, arm(f"arm {share}", share)) for share in (0.52, 0.47, 0.6)]
    adjusted = adjust([made[0], None, *made[1:]])
    assert adjusted[1] is None
    assert [each.p_adjusted for each in adjusted if each] == holm([each.p_mcnemar for each in made])
    assert [each.p_mcnemar for each in adjusted if each] == [each.p_mcnemar for each in made]

"""The paired bootstrap of mean average precision: against scikit-learn on the drawn videos; its faulty twins."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from side4video.reports.arms import ArmResult, SeedResult
from side4video.reports.columns import as_markdown
from side4video.reports.comparison import as_csv, compare_rows, explanation
from side4video.reports.label_significance import VideoScores, compare_labels, map_of, map_of_draws, weighted_map
from side4video.tasks.multi_label.metrics import LabelScores, mean_average_precision

VIDEOS, CLASSES = 40, 5


def scored(seed, *, skill=1.0, videos=VIDEOS, ties=True, targets_seed=0):
    """Scores that know a little of the labels; some are equal, and one class has no video."""
    targets = np.random.default_rng(targets_seed).random((videos, CLASSES)) < 0.3
    targets[:, 2] = False
    scores = np.random.default_rng(seed).normal(size=(videos, CLASSES)) + skill * targets
    scores = 1 / (1 + np.exp(-scores))
    return VideoScores(np.arange(videos), np.round(scores, 1) if ties else scores, targets.astype(np.int64))


def drawn_map(found, counts_N):
    """The definition: each video as often as it was drawn, a class with a drawn video, scikit-learn's precision."""
    rows = np.repeat(np.arange(len(counts_N)), counts_N)
    scores, targets = found.scores_NC[rows], found.targets_NC[rows]
    known = [c for c in range(CLASSES) if targets[:, c].any()]
    return np.mean([average_precision_score(targets[:, c], scores[:, c]) for c in known]) if known else math.nan


def agrees(weighted):
    found, rng = scored(1), np.random.default_rng(5)
    counts_DN = rng.multinomial(VIDEOS, np.full(VIDEOS, 1 / VIDEOS), size=60)
    expected = [drawn_map(found, counts_N) for counts_N in counts_DN]
    return np.allclose(weighted(found, counts_DN.astype(np.float64)), expected, rtol=0, atol=1e-12)


def test_weights_are_repeated_videos():
    assert agrees(weighted_map)
    few = np.zeros((1, VIDEOS))
    assert np.isnan(weighted_map(scored(1), few)).all()


def ties_in_order(found, weights_DN):
    """Takes equal scores for different ones."""
    nudge = -1e-9 * np.arange(len(found.indices_N))[:, None]
    return weighted_map(replace(found, scores_NC=found.scores_NC + nudge), weights_DN)


def all_classes(found, weights_DN):
    """Counts a class that no video has as one of no precision."""
    return weighted_map(found, weights_DN) * (CLASSES - 1) / CLASSES


@pytest.mark.parametrize("fault", [ties_in_order, all_classes])
def test_another_average_is_noticed(fault):
    """The broken twins."""
    assert not agrees(fault)


def test_the_value_is_the_metric():
    found = scored(3)
    metric = mean_average_precision(LabelScores(found.scores_NC, found.targets_NC))
    assert map_of(SeedResult("a", 0, "finished", {}, scores=found)) == pytest.approx(metric, abs=1e-12)


# ---- comparisons


def arm(label, *scores, is_reference=False, metric=None):
    runs = []
    for seed, found in enumerate(scores):
        value = metric or mean_average_precision(LabelScores(found.scores_NC, found.targets_NC))
        runs.append(SeedResult(f"{label}-{seed}", seed, "finished", {"eval/map": value}, scores=found))
    return ArmResult("", label, {}, tuple(runs), is_reference=is_reference)


def test_the_same_comparison_each_time_and_mirrored():
    one, other = arm("a", scored(1), scored(2)), arm("b", scored(3), scored(4))
    found, again, mirrored = compare_labels(one, other), compare_labels(one, other), compare_labels(other, one)
    assert found == again
    assert (found.difference, found.low, found.high) == (-mirrored.difference, -mirrored.high, -mirrored.low)
    assert found.p == mirrored.p == found.p_bootstrap
    assert found.p_mcnemar is None
    assert (found.videos, found.seeds) == (VIDEOS, 2)


def test_a_better_arm_is_found_and_an_equal_one_is_not():
    reference = arm("a", scored(1, videos=120))
    better = compare_labels(reference, arm("b", scored(2, skill=4.0, videos=120)))
    assert 0 < better.low < better.difference < better.high
    assert better.p < 0.01
    same = compare_labels(reference, arm("c", scored(1, videos=120)))
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def rejected(p_of, count=60):
    """The share of pairs of equally good arms that a test rejects at 10%."""
    pairs = [
        (arm("a", scored(2 * n, targets_seed=n)), arm("b", scored(2 * n + 1, targets_seed=n))) for n in range(count)
    ]
    return np.mean([p_of(one, other) < 0.1 for one, other in pairs])


def paired_p(one, other):
    return compare_labels(one, other, draws=200).p


def one_sided_of_the_better(one, other):
    return paired_p(one, other) / 4


def test_equal_arms_are_rejected_about_as_often_as_the_level_says():
    assert rejected(paired_p) < 0.25
    assert rejected(one_sided_of_the_better) > rejected(paired_p)


def test_only_videos_of_both_count():
    whole, rng = scored(1), np.random.default_rng(0)
    part = np.sort(rng.permutation(VIDEOS)[:30])
    found = compare_labels(arm("a", whole), arm("b", scored(2).of(part)))
    alone = compare_labels(arm("a", whole.of(part)), arm("b", scored(2).of(part)))
    assert found == alone
    assert found.videos == 30
    assert compare_labels(arm("a", scored(1)), arm("b", scored(2, targets_seed=9))) is None  # other labels


def test_the_draws_depend_on_the_number_of_videos_alone():
    found = scored(1)
    assert np.array_equal(map_of_draws(found, draws=9, seed=0), map_of_draws(found, draws=9, seed=0))
    assert not np.array_equal(map_of_draws(found, draws=9, seed=0), map_of_draws(found, draws=9, seed=1))


def test_the_table_of_a_sweep_says_which_test_it_was():
    rows = [arm("plain", scored(1), is_reference=True), arm("deep", scored(2, skill=3.0)), arm("wide", scored(4))]
    table = compare_rows(rows, metric="eval/map")
    text, notes = as_markdown(table), " ".join(explanation(table))
    assert "| mAP (%) |" in text
    assert "p (Holm)" in text
    assert notes.startswith("mAP: mean ±")
    assert "paired bootstrap" in notes
    assert "McNemar" not in notes
    head, *lines = (line.split(",") for line in as_csv(table).splitlines())
    cells = [dict(zip(head, line, strict=True)) for line in lines]
    assert [cell["p_mcnemar"] for cell in cells] == ["", "", ""]
    assert cells[0]["p_bootstrap"] == ""
    assert float(cells[1]["p_adjusted"]) >= float(cells[1]["p_bootstrap"]) > 0


def test_scores_of_another_epoch_are_not_tested():
    rows = [arm("plain", scored(1), is_reference=True), arm("deep", scored(2), metric=0.99)]
    table = compare_rows(rows, metric="eval/map")
    assert table.mismatched == ("deep",)
    assert all(row.comparison is None for row in table.arms)

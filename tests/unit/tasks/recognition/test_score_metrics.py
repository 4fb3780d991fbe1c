"""Metrics of all scores, against counts by hand: pairs for AUROC, ranks for average precision, bins for calibration."""

import math

import numpy as np
import pytest

from side4video.tasks.recognition.metrics import METRICS, Scores, recognition_metrics
from side4video.tasks.recognition.score_metrics import BINS, calibration_error


def drawn(seed, videos=40, classes=5):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), videos)
    return scores, rng.integers(0, classes - 1, videos)  # the last class never occurs


def auroc(scores, is_own):
    pairs = [(a, b) for a in scores[is_own] for b in scores[~is_own]]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def average_precision(scores, is_own):
    order = np.argsort(-scores)
    hits, total = 0, 0.0
    for place, index in enumerate(order, 1):
        if is_own[index]:
            hits += 1
            total += hits / place
    return total / hits


def f1(predicted, labels, label):
    hits = int(((predicted == label) & (labels == label)).sum())
    return 2 * hits / (int((predicted == label).sum()) + int((labels == label).sum()))


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_counts_by_hand(seed):
    scores, labels = drawn(seed)
    found = recognition_metrics(Scores(scores, labels))
    present, predicted = np.unique(labels), scores.argmax(1)
    assert found["macro_f1"] == pytest.approx(np.mean([f1(predicted, labels, each) for each in present]))
    of_class = [(scores[:, each], labels == each) for each in present]
    assert found["mean_auroc"] == pytest.approx(np.mean([auroc(*each) for each in of_class]))
    assert found["mean_average_precision"] == pytest.approx(np.mean([average_precision(*each) for each in of_class]))
    assert found["nll"] == pytest.approx(
        -np.mean([math.log(row[label]) for row, label in zip(scores, labels, strict=True)])
    )


def test_the_calibration_error_is_that_of_the_bins():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]])
    labels = np.array([0, 1, 0, 0, 0])
    bins = [math.ceil(row.max() * BINS) - 1 for row in scores]
    gaps = {}
    for number, row, label in zip(bins, scores, labels, strict=True):
        gaps[number] = gaps.get(number, 0.0) + (row.argmax() == label) - row.max()
    assert calibration_error(scores, labels) == pytest.approx(sum(map(abs, gaps.values())) / 5)
    assert calibration_error(np.eye(3), np.arange(3)) == 0.0
    assert calibration_error(np.eye(3), np.array([1, 2, 0])) == 1.0


def test_a_perfect_and_a_wrong_model():
    labels = np.array([0, 1, 2, 0])
    right = recognition_metrics(Scores(np.eye(3)[labels], labels))
    assert [right[name] for name in ("macro_f1", "mean_average_precision", "mean_auroc")] == [1, 1, 1]
    assert (right["calibration_error"], right["nll"]) == (0, 0)
    wrong = recognition_metrics(Scores(np.eye(3)[(labels + 1) % 3], labels))
    assert wrong["macro_f1"] == 0
    assert wrong["nll"] == pytest.approx(-math.log(1e-12))


def test_one_class_has_no_auroc_and_scores_that_are_no_numbers_have_nothing():
    assert math.isnan(recognition_metrics(Scores(np.array([[0.4, 0.6]]), np.array([1])))["mean_auroc"])
    found = recognition_metrics(Scores(np.array([[np.nan, 0.6]]), np.array([1])))
    assert math.isnan(found["macro_f1"])
    assert math.isnan(found["calibration_error"])


def test_which_way_is_better():
    better = {each.name: each.better for each in METRICS}
    assert [name for name, way in better.items() if way == "min"] == ["calibration_error", "nll"]

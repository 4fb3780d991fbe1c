"""Recognition metrics against a brute-force count."""

import numpy as np
import pytest

from side4video.tasks.recognition.metrics import Scores, class_accuracy, recognition_metrics


def brute_force(scores, labels, classes):
    top1 = top5 = 0
    by_class = {label: [] for label in labels}
    for row, label in zip(scores, labels, strict=True):
        better = sum(1 for other in range(classes) if other != label and row[other] >= row[label])
        top1 += better < 1
        top5 += better < 5
        by_class[label].append(better < 1)
    mean = sum(sum(hits) / len(hits) for hits in by_class.values()) / len(by_class)
    return {"top1": top1 / len(labels), "top5": top5 / len(labels), "mean_class_accuracy": mean}


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_brute_force(seed):
    rng = np.random.default_rng(seed)
    classes, videos = int(rng.integers(2, 12)), int(rng.integers(1, 60))
    scores = rng.integers(0, 6, (videos, classes)).astype(float) if seed % 2 else rng.random((videos, classes))
    labels = rng.integers(0, classes, videos)
    found = recognition_metrics(Scores(scores, labels))
    expected = brute_force(scores, labels.tolist(), classes)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_constant_model_scores_nothing():
    labels = np.array([0, 1, 2])
    assert recognition_metrics(Scores(np.zeros((3, 3)), labels))["top1"] == 0.0


def test_nan_scores_are_wrong():
    labels = np.array([0, 1])
    scores = np.array([[np.nan, np.nan], [0.1, 0.9]])
    assert recognition_metrics(Scores(scores, labels))["top1"] == 0.5


def test_classes_without_a_video_do_not_count():
    labels = np.array([0, 0, 2])
    ranks = np.array([0, 1, 0])
    found = class_accuracy(ranks, labels, classes=4)
    assert found[0] == 0.5
    assert found[2] == 1.0
    assert np.isnan(found[1])
    scores = np.array([[0.9, 0.1, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    assert recognition_metrics(Scores(scores, labels))["mean_class_accuracy"] == 0.75


def test_no_videos():
    found = recognition_metrics(Scores(np.zeros((0, 3)), np.array([], np.int64)))
    assert all(np.isnan(value) for value in found.values())

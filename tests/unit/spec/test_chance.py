"""What guesses reach: said beside the values, and what every guess reaches is left out of them."""

import numpy as np
import pytest

from side4video.spec.chance import chance_metrics, chance_text
from side4video.tasks.recognition import metrics as recognition
from side4video.tasks.recognition.metrics import Scores, recognition_metrics
from side4video.tasks.retrieval import metrics as retrieval
from side4video.tasks.retrieval.metrics import retrieval_metrics
from tiny import tiny


def test_ten_classes():
    assert chance_metrics(tiny()) == {"eval/top1": 0.1, "eval/top5": 0.5}
    assert chance_text(tiny()) == "By chance: top-1 10.0%, top-5 50.0%."


@pytest.mark.parametrize(("classes", "is_there"), [(2, False), (5, False), (6, True)])
def test_top_5_of_five_classes_says_nothing(classes, is_there):
    rows = np.random.default_rng(0).random((12, classes))
    measured = recognition_metrics(Scores(rows, np.arange(12) % classes))
    assert ("top5" in recognition.informative(measured, classes)) == is_there


@pytest.mark.parametrize(("videos", "names"), [(4, {1}), (10, {1, 5}), (11, {1, 5, 10})])
def test_recall_among_so_few_says_nothing(videos, names):
    ranks = np.zeros(videos, dtype=np.int64)
    found = retrieval.informative(retrieval_metrics(ranks, ranks), texts=videos, videos=videos)
    assert {int(name.rpartition("_r")[2]) for name in found if name.startswith("t2v_r")} == names
    assert {int(name.rpartition("_r")[2]) for name in found if name.startswith("v2t_r")} == names
    assert "t2v_median_rank" in found

"""Mean average precision: scikit-learn's on 1,000 matrices, and the same from any number of workers."""

import csv
import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from side4video.engine.process_group import ProcessGroup
from side4video.tasks import view_average
from side4video.tasks.multi_label.label_scores import LabelScoresCollector
from side4video.tasks.multi_label.metrics import LabelScores, label_metrics, mean_average_precision
from side4video.tasks.multi_label.multi_label import MultiLabel

CLASSES = ("a", "b;c", '"d"', "=e", "f")
TASK = MultiLabel(CLASSES)


def matrices():
    """Scores with many ties, and targets whose classes have some, no or only positives."""
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        videos, classes = int(rng.integers(1, 40)), int(rng.integers(1, 9))
        scores = rng.integers(0, 5, (videos, classes)) / 4 if seed % 2 else rng.random((videos, classes))
        targets = (rng.random((videos, classes)) < rng.choice([0.0, 0.1, 0.5, 1.0], classes)).astype(np.int64)
        yield scores, targets


def test_it_is_that_of_scikit_learn():
    without = 0
    for scores, targets in matrices():
        found = LabelScores(scores, targets)
        present = targets.any(axis=0)
        value = mean_average_precision(found)
        if not present.any():
            without += 1
            assert math.isnan(value)
            continue
        assert value == average_precision_score(targets[:, present], scores[:, present], average="macro")
        assert np.isnan(found.class_precision[~present]).all()
        metrics = label_metrics(found)
        assert metrics["map_micro"] == average_precision_score(targets, scores, average="micro")
    assert without > 5


def test_twin_that_counts_classes_without_positives():
    caught = 0
    for scores, targets in matrices():
        present = targets.any(axis=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            all_classes = average_precision_score(targets, scores, average="macro")
        caught += (
            present.any() and not present.all() and all_classes != mean_average_precision(LabelScores(scores, targets))
        )
    assert caught > 300


def test_scores_that_are_no_numbers_have_no_precision():
    scores, targets = np.array([[0.5], [np.nan]]), np.array([[1], [0]])
    assert all(math.isnan(value) for value in label_metrics(LabelScores(scores, targets)).values())
    assert all(math.isnan(value) for value in label_metrics(LabelScores(scores[:0], targets[:0])).values())


class Outputs:
    """Logits of every view of some videos, in batches whose bounds fall inside a video's views."""

    def __init__(self, task=TASK, videos=23, views=6, batch=5, missing=(3,)):
        draw = torch.Generator().manual_seed(0)
        self.task, self.videos = task, videos
        # From far in the tails to the middle, so that sums of scores round.
        scale_V11 = torch.logspace(-2, 1.7, videos).reshape(-1, 1, 1)
        self.logits_VWC = torch.randn(videos, views, len(CLASSES), generator=draw) * scale_V11
        self.targets_VC = torch.randint(2, (videos, len(CLASSES)), generator=draw).float()
        places = [(video, view) for video in range(videos) for view in range(views) if video not in missing]
        self.batches = [places[start : start + batch] for start in range(0, len(places), batch)]

    def collected(self, batches):
        collector = LabelScoresCollector(self.task, videos=self.videos)
        for batch in batches:
            indices_B, views_B = (torch.tensor(column) for column in zip(*batch, strict=True))
            rows = SimpleNamespace(indices_B=indices_B, views_B=views_B)
            collector.add(self.logits_VWC[indices_B, views_B], self.targets_VC[indices_B], rows)
        return collector

    def evaluation(self, world=1):
        parts = [self.collected(self.batches[rank::world]) for rank in range(world)]
        return parts[0].compute(SimpleNamespace(gather=lambda _: [part.sums for part in parts]))


def test_any_number_of_workers_gives_the_same_to_the_last_bit():
    outputs = Outputs()
    one, *others = (outputs.evaluation(world) for world in (1, 2, 3, 7))
    for other in others:
        assert one.found.scores_VC.tobytes() == other.found.scores_VC.tobytes()
        assert (one.metrics, one.class_metrics, one.loss) == (other.metrics, other.class_metrics, other.loss)
    assert one.videos == 22
    assert one.views == 6
    assert one.metrics["map"] == one.metrics["map"]
    assert one.metrics == outputs.collected(outputs.batches).compute(ProcessGroup()).metrics


def test_twin_that_does_not_round_its_sums(monkeypatch):
    monkeypatch.setattr(view_average, "STEP", 2.0**-1000)
    outputs = Outputs()
    one, *others = (outputs.evaluation(world) for world in (1, 2, 3, 7))
    assert any(one.found.scores_VC.tobytes() != other.found.scores_VC.tobytes() for other in others)


def test_scores_are_the_mean_of_the_views():
    outputs = Outputs()
    found = outputs.evaluation().found
    expected = outputs.logits_VWC.sigmoid().double().mean(dim=1).numpy()[found.indices_V]
    assert np.abs(found.scores_VC - expected).max() < 1e-7  # a sigmoid of one number and of many may round differently
    assert (found.targets_VK == outputs.targets_VC.numpy()[found.indices_V]).all()


def test_the_files(tmp_path):
    evaluation = Outputs().evaluation()
    evaluation.write(tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 22
    targets, scores = evaluation.found.targets_VK, evaluation.found.scores_VC
    for row, own, given in zip(rows, targets, scores, strict=True):
        assert json.loads(row["labels"]) == [CLASSES[number] for number in np.flatnonzero(own)]
        assert json.loads(row["predictions"]) == [CLASSES[number] for number in np.flatnonzero(given >= 0.5)]
        assert row["correct"] == str(int(row["labels"] == row["predictions"]))
    assert json.loads((tmp_path / "class_average_precision.json").read_text()) == evaluation.class_metrics
    assert np.load(tmp_path / "scores.npz")["labels"].tolist() == targets.tolist()
    evaluation.write_predictions(tmp_path / "more.csv", [f"{number}.mp4" for number in range(23)])
    with (tmp_path / "more.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["video"] == "0.mp4"
    assert float(row["score a"]) == pytest.approx(scores[0, 0], abs=1e-6)

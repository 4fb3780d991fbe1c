"""The files of an evaluation, row by row: also of the first class, and of a clip without a label."""

import csv
from types import SimpleNamespace

import pytest
import torch

from side4video.engine.process_group import ProcessGroup
from side4video.tasks.recognition.class_scores import ClassScores
from side4video.tasks.recognition.classification import Classification

CLASSES = ("zero", "one", "two")
LOGITS = torch.tensor([[2.0, 1.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
LABELS = torch.tensor([0, 1, -1])


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def evaluation(views):
    collector = ClassScores(Classification(CLASSES), videos=3)
    for view in range(views):
        rows = SimpleNamespace(indices_B=torch.arange(3), views_B=torch.full((3,), view))
        collector.add(LOGITS, LABELS, rows)
    return collector.compute(ProcessGroup(), crops=1)


def test_each_video_has_its_label_its_guess_and_both_scores(tmp_path):
    evaluation(1).write(tmp_path)
    scores = LOGITS.softmax(-1)
    found = rows_of(tmp_path / "predictions.csv")
    assert [(row["index"], row["label"], row["prediction"], row["correct"]) for row in found] == [
        ("0", "zero", "zero", "1"),
        ("1", "one", "zero", "0"),
        ("2", "", "two", "0"),
    ]
    assert [float(row["score"]) for row in found] == pytest.approx(scores.amax(-1).tolist(), abs=1e-5)
    assert float(found[0]["label_score"]) == pytest.approx(float(scores[0, 0]), abs=1e-5)
    assert float(found[1]["label_score"]) == pytest.approx(float(scores[1, 1]), abs=1e-5)
    assert found[2]["label_score"] == ""


def test_each_view_has_the_same(tmp_path):
    evaluation(2).write_views(tmp_path / "views.csv")
    found = rows_of(tmp_path / "views.csv")
    assert [(row["clip"], row["index"], row["label"], row["prediction"], row["correct"]) for row in found] == [
        (clip, index, label, guess, correct)
        for clip in "01"
        for index, label, guess, correct in (
            ("0", "zero", "zero", "1"),
            ("1", "one", "zero", "0"),
            ("2", "", "two", "0"),
        )
    ]
    assert [row["label_score"] == "" for row in found] == [False, False, True] * 2

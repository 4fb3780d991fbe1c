"""What guesses reach: said beside the values, and what every guess reaches is left out of tables."""

from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from label_sets import TASKS, make_labelled_list
from side4video.cli.run import results_table
from side4video.data.clip import Clip
from side4video.spec.chance import always_reached, chance_metrics, chance_text, guessed_heads, guessed_labels
from side4video.tasks.multi_head.metrics import HeadScores, head_metrics
from tiny import DOCUMENT, tiny

TWO_STREAMS = {**DOCUMENT["backbone"], "text": {"kind": "transformer"}}


def test_ten_classes():
    assert chance_metrics(tiny()) == {"eval/top1": 0.1, "eval/top5": 0.5}
    assert chance_text(tiny()) == "By chance: top-1 10.0%, top-5 50.0%."
    assert always_reached(tiny()) == frozenset()


def test_recall_among_twenty():
    spec = tiny(task={"kind": "retrieval"}, backbone=TWO_STREAMS)
    videos = len(spec.data.dataset.clips("test"))
    assert chance_metrics(spec)["eval/t2v_r1"] == pytest.approx(1 / videos)
    assert always_reached(spec) == frozenset()
    assert "text to video R@1" in chance_text(spec)


def test_among_two_classes_and_among_ten_videos_some_say_nothing():
    few = tiny(data={"dataset": {**DOCUMENT["data"]["dataset"], "motions": ["left"]}})
    assert always_reached(few) == {"top5"}
    assert chance_text(few) == "By chance: top-1 50.0%."
    dataset = {**DOCUMENT["data"]["dataset"], "test_clips": 10}
    ten = tiny(task={"kind": "retrieval"}, backbone=TWO_STREAMS, data={"dataset": dataset})
    assert always_reached(ten) == {"t2v_r10", "v2t_r10"}


def test_tables_leave_out_what_every_guess_reaches(run):
    shown = [column.heading for column in results_table([run], frozenset()).columns]
    hidden = [column.heading for column in results_table([run], frozenset({"top5"})).columns]
    assert [each for each in shown if each not in hidden] == ["top-5"]


@pytest.fixture
def labelled(tmp_path):
    listed = make_labelled_list(tmp_path)
    return lambda task: tiny(task=TASKS[task], data={"dataset": listed})


def test_a_verb_of_three_and_a_noun_of_two(labelled):
    spec = labelled("heads")
    found = chance_metrics(spec)
    assert found["eval/verb_top1"] == pytest.approx(1 / 3)
    assert found["eval/action_top1"] == pytest.approx(1 / 6)
    assert found["eval/action_top5"] == pytest.approx(5 / 6)
    assert {"verb_top5", "noun_top5", "noun_class_recall5"} <= always_reached(spec)
    assert "action_top5" not in always_reached(spec)
    text = chance_text(spec)
    assert text == "By chance: action top-1 16.7%, action top-5 83.3%, noun top-1 50.0%, verb top-1 33.3%."


def test_guesses_of_heads_reach_what_they_are_said_to():
    """Many videos with scores drawn at random."""
    heads, draw = {"noun": 7, "verb": 3}, np.random.default_rng(0)
    labels = np.stack([draw.integers(0, count, 20_000) for count in heads.values()], axis=1)
    scores = tuple(draw.random((20_000, count)) for count in heads.values())
    measured = head_metrics(HeadScores(scores, labels), tuple(heads))
    said = guessed_heads(heads)
    assert said.keys() == measured.keys()
    assert {name: measured[name] for name in said} == pytest.approx(said, abs=0.015)


def test_guesses_of_labels_reach_what_they_are_said_to():
    """All orders of five videos, by scikit-learn."""
    labels = [(0,), (0, 1), (), (1,), (0,)]
    said = guessed_labels([Clip("", None, labels=each) for each in labels], 3)
    targets = np.array([[label in each for label in range(2)] for each in labels])
    orders = list(permutations(range(5)))
    by_class = [fmean(average_precision_score(targets[:, number], order) for order in orders) for number in (0, 1)]
    assert said["map"] == pytest.approx(fmean(by_class))
    assert said["map"] != pytest.approx(targets.mean())  # twin: the share of right videos
    draw, flat = np.random.default_rng(0), np.concatenate([targets, np.zeros((5, 1), bool)], axis=1).ravel()
    drawn = fmean(average_precision_score(flat, draw.random(15)) for _ in range(600))
    assert said["map_micro"] == pytest.approx(drawn, abs=0.02)
    assert guessed_labels([Clip("", None, labels=())], 3) == {}


def test_several_labels_say_what_chance_is(labelled):
    spec = labelled("several")
    assert set(chance_metrics(spec)) == {"eval/map", "eval/map_micro"}
    assert chance_text(spec).startswith("By chance: mAP ")
    assert "micro" not in chance_text(spec)

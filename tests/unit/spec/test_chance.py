"""What guesses reach: said beside the values, and what every guess reaches is left out of tables."""

import pytest

from side4video.cli.run import results_table
from side4video.spec.chance import always_reached, chance_metrics, chance_text
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

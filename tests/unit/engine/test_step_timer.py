"""Where the time of a step goes: the parts of a phase add up, and so do those of a student."""

import pytest
import torch

from side4video.engine.step_timer import StepTimer, phase_seconds, shared_seconds, student_seconds

MARKS = [
    ("", "", 10.0),
    ("data_wait", "", 11.0),
    ("backbone", "", 13.0),
    ("side", "a", 13.5),
    ("side", "b", 14.5),
    ("backbone", "", 16.5),
    ("side", "a", 17.0),
    ("optimizer", "a", 17.25),
]


def test_seconds_of_phases_and_of_students():
    assert phase_seconds(MARKS) == pytest.approx({"data_wait": 1.0, "backbone": 4.0, "side": 2.0, "optimizer": 0.25})
    assert student_seconds(MARKS) == pytest.approx({"a": 1.25, "b": 1.0})
    assert phase_seconds(MARKS[:1]) == phase_seconds([]) == {}


def test_students_share_what_is_for_all_and_the_pass_of_their_tower():
    assert shared_seconds(MARKS) == pytest.approx({"a": 5.0, "b": 5.0})
    several = [
        ("", "", 10.0),
        ("data_wait", "", 11.0),
        ("backbone", ("a", "b"), 13.0),
        ("side", "a", 13.5),
        ("side", "b", 14.5),
        ("backbone", ("c",), 18.5),
        ("side", "c", 19.0),
    ]
    assert shared_seconds(several) == pytest.approx({"a": 3.0, "b": 3.0, "c": 5.0})
    assert student_seconds(several) == pytest.approx({"a": 0.5, "b": 1.0, "c": 0.5})
    assert phase_seconds(several)["backbone"] == pytest.approx(6.0)


def test_a_step_begins_anew():
    timer = StepTimer(torch.device("cpu"))
    for phase in ("side", "backbone"):
        timer.start()
        timer.mark(phase, "a")
        assert phase_seconds(timer.take()).keys() == {phase}
        assert student_seconds(timer.take())["a"] == pytest.approx(phase_seconds(timer.take())[phase])
        assert phase_seconds(timer.take())[phase] >= 0

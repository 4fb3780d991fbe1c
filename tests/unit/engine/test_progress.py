"""What a watched run says of its steps: how far, how fast, how long still."""

import math

import pytest

from side4video.core.progress import MessageProgress
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.progress import SMOOTHING, StepProgress


def info(step, seconds):
    return StepInfo(step, 0, 4, 1, {"a": 0.5}, {"a": 1.0}, {"a": 0.1}, {"side": seconds / 2, "backbone": seconds / 2})


def told(*, every_seconds):
    shown = []
    progress = StepProgress(MessageProgress(shown.append), every_seconds=every_seconds)
    progress.begin(4, 0)
    for step, seconds in enumerate((2.0, 2.0, 4.0, 4.0)):
        progress.after_step(info(step, seconds))
    progress.end()
    return shown


def test_each_step_says_the_rate_and_the_time_left():
    begun, *steps, done = told(every_seconds=0.0)
    assert begun == {"phase": "training", "done": 0, "total": 4}
    assert done == {"phase": "done", "done": 4, "total": 4}
    assert [each["done"] for each in steps] == [1, 2, 3, 4]
    lengths = [2.0, 2.0, SMOOTHING * 2 + (1 - SMOOTHING) * 4]
    lengths.append(SMOOTHING * lengths[-1] + (1 - SMOOTHING) * 4)
    assert [each["steps_per_second"] for each in steps] == pytest.approx([1 / length for length in lengths])
    assert [each["seconds_left"] for each in steps] == pytest.approx([6.0, 4.0, lengths[2], 0.0])
    assert steps[0]["losses"] == {"a": 0.5}


def test_the_last_step_is_always_told():
    assert [each["done"] for each in told(every_seconds=math.inf)] == [0, 4, 4]


@pytest.mark.parametrize(("step", "is_told"), [(0, True), (1, False), (9, False), (10, True)])
def test_of_long_work_the_begin_and_the_end_are_always_told(step, is_told):
    shown = []
    StepProgress(MessageProgress(shown.append), every_seconds=math.inf).report("evaluating", step, 10)
    assert shown == ([{"phase": "evaluating", "done": step, "total": 10}] if is_told else [])


def test_metrics_are_told_where_an_epoch_has_any():
    shown = []
    progress = StepProgress(MessageProgress(shown.append))
    for number, metrics in enumerate([{}, {"a": {"top1": 0.5}}]):
        end = EpochInfo(number, number + 1, is_last=False)
        for name, each in metrics.items():
            end.add(name, each)
        progress.after_epoch(end)
    progress.report("loading")
    assert shown == [
        {"phase": "evaluated", "done": 0, "total": 0, "epoch": 1, "metrics": {"a": {"top1": 0.5}}},
        {"phase": "loading", "done": 0, "total": 0},
    ]

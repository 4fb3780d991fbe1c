"""What steps become: means over a window, totals without the first step, and one step of several workers' steps."""

import json
from dataclasses import asdict

import pytest

from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step_totals import StepTotals


def info(step, *, loss=0.0, share=1.0, seconds=1.0, own=0.0, wait=0.0, clips=4.0):
    return StepInfo(
        step=step,
        epoch=step // 10,
        clips=clips,
        share=share,
        losses={"a": loss},
        gradient_norms={"a": 10.0 * loss},
        learning_rates={"a": 0.1 * step},
        seconds={"side": seconds - wait, "data_wait": wait},
        own_seconds={"a": own},
    )


def metrics_logger(*infos, every_steps=2):
    made = MetricsLogger(ProcessGroup(), every_steps=every_steps)
    for each in infos:
        made.after_step(each)
    return made


def series(made, key):
    return [(each.step, pytest.approx(each.value)) for each in made.take("a") if each.key == key]


def test_a_point_is_the_mean_of_its_window_at_its_last_step():
    made = metrics_logger(*(info(step, loss=float(step)) for step in range(5)))
    assert series(made, "train/loss") == [(1, 0.5), (3, 2.5)]
    assert series(made, "train/gradient_norm") == [(1, 5.0), (3, 25.0)]
    assert series(made, "train/learning_rate") == [(1, 0.1), (3, 0.3)]
    assert series(made, "train/epoch") == [(1, 0), (3, 0)]


def test_the_end_of_an_epoch_closes_the_window():
    made = metrics_logger(*(info(step, loss=float(step)) for step in range(3)))
    made.after_epoch(EpochInfo(0, 3, is_last=False))
    assert series(made, "train/loss") == [(1, 0.5), (2, 2.0)]
    made.clear()
    assert made.take("a") == []


def test_times_are_means_over_the_window():
    made = metrics_logger(
        info(0, seconds=1.0, own=0.5, wait=0.25), info(1, seconds=3.0, own=1.5, wait=0.75, clips=12.0)
    )
    assert series(made, "time/step_s") == [(1, 2.0)]
    assert series(made, "time/side_s") == [(1, 1.5)]
    assert series(made, "time/data_wait_s") == [(1, 0.5)]
    assert series(made, "time/own_step_s") == [(1, 1.0)]
    assert series(made, "time/clips_per_s") == [(1, 4.0)]


def test_totals_leave_the_first_step_out():
    made = metrics_logger(info(0, seconds=100.0), info(1, seconds=2.0, wait=0.5))
    assert made.totals.means() == pytest.approx(
        {"step_s": 2.0, "side_s": 1.5, "data_wait_s": 0.5, "clips_per_s": 2.0, "data_wait_fraction": 0.25}
    )
    made.after_step(info(2, seconds=4.0, wait=0.5))
    assert made.totals.means()["step_s"] == pytest.approx(3.0)
    assert made.totals.means()["clips_per_s"] == pytest.approx(8 / 6)


def test_a_student_alone_would_take_what_is_shared_and_its_own():
    made = metrics_logger(info(0, seconds=100.0), info(1, seconds=5.0, own=2.0), info(2, seconds=7.0, own=4.0))
    assert made.totals.student_means("a") == pytest.approx({"own_step_s": 3.0, "alone_step_s": 6.0})
    assert made.totals.student_means("b") == {}


def test_totals_go_on_in_another_process_without_its_first_step():
    """What a run measures about itself is in its checkpoint: one killed after its last step has it too."""
    steps = [
        info(0, seconds=100.0),
        info(1, seconds=5.0, own=2.0),
        info(2, seconds=90.0),
        info(3, seconds=7.0, own=4.0),
    ]
    first, second = metrics_logger(*steps[:2]), MetricsLogger(ProcessGroup(), every_steps=2)
    second.totals = StepTotals.from_json(json.loads(json.dumps(first.totals.as_json())))
    assert second.totals.means() == first.totals.means()
    assert second.totals.student_means("a") == pytest.approx({"own_step_s": 2.0, "alone_step_s": 5.0})
    for each in steps[2:]:
        second.after_step(each)
    assert second.totals.means()["step_s"] == pytest.approx(6.0)
    assert second.totals.student_means("a") == pytest.approx({"own_step_s": 3.0, "alone_step_s": 6.0})


def test_an_open_window_is_gone_on_with():
    steps = [info(step, loss=float(step)) for step in range(3)]
    first, second = metrics_logger(steps[0], every_steps=3), MetricsLogger(ProcessGroup(), every_steps=3)
    second.restore(first.gather_open_window())
    for each in steps[1:]:
        second.after_step(each)
    assert series(second, "train/loss") == [(2, 1.0)]


def test_the_open_windows_of_two_workers_are_one_workers_mean_over_clips():
    """Three clips of four had a loss of 1, one of 5: their mean is 2. Seconds are the first worker's."""
    windows = [
        [asdict(info(0, loss=1.0, share=0.75, seconds=1.0))],
        [asdict(info(0, loss=5.0, share=0.25, seconds=9.0))],
    ]
    made = MetricsLogger(ProcessGroup(), every_steps=2)
    made.restore(windows)
    made.after_step(info(1, loss=4.0, seconds=3.0))
    assert series(made, "train/loss") == [(1, 3.0)]
    assert series(made, "time/step_s") == [(1, 2.0)]

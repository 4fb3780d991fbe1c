"""The budget of a step: what a run recorded, what a plan estimates, and the bars that are drawn of them."""

import math

import pytest

from side4video.core.errors import InputError
from side4video.planning.feature_cache import ClipCounts
from side4video.planning.plan import plan_experiment
from side4video.reports.figures.step_time import estimated_budget, recorded_budget, step_time_figure
from tiny import tiny

RECORDED = {
    "time/mean_step_s": 0.8,
    "time/mean_data_wait_s": 0.1,
    "time/mean_transfer_s": 0.05,
    "time/mean_backbone_s": 0.2,
    "time/mean_side_s": 0.375,
    "time/mean_optimizer_s": 0.075,
    "time/mean_own_step_s": 0.45,
    "time/mean_alone_step_s": 0.8,
    "time/mean_total_s": 100.0,
    "time/mean_clips_per_s": 40.0,
    "time/mean_data_wait_fraction": 0.125,
    "time/step_s": 0.7,
    "memory/peak_gib": 2.5,
    "memory/held_for_backward_gib": 0.5,
    "plan/held_for_backward_gib": 0.5,
}
PLAN = {"peak_memory_parts_gib": {"tower": 0.5, "weights": 0.25, "held_for_backward": 1.25}}
PHASES = {"data_wait": 0.1, "transfer": 0.05, "backbone": 0.2, "side": 0.375, "optimizer": 0.075}


def test_phases_are_what_was_recorded_and_add_up_to_the_step():
    budget = recorded_budget("a run", RECORDED, PLAN)
    assert budget.seconds == PHASES
    assert list(budget.seconds) == list(PHASES)
    assert budget.step_seconds == pytest.approx(RECORDED["time/mean_step_s"])
    assert budget.measured_gib == 2.5
    assert not budget.is_shared


def test_a_phase_that_is_new_is_drawn_all_the_same():
    budget = recorded_budget("a run", {**RECORDED, "time/mean_gather_s": 0.2})
    assert list(budget.seconds) == [*PHASES, "gather"]
    assert "gather" in legend(step_time_figure([budget]).figure.axes[0])


ON_GPU = {"memory/reserved_gib": 4.0}


def test_a_lone_student_has_no_others_though_the_clock_stops_between_its_parts():
    assert not recorded_budget("a run", {**RECORDED, "time/mean_own_step_s": 0.44}).is_shared
    assert recorded_budget("an arm", {**RECORDED, "time/mean_own_step_s": 0.44, "plan/pack_arms": 2.0}).is_shared


def test_of_a_plan_the_work_is_drawn_and_never_a_time():
    """How long it takes depends on the machine, of which a plan knows nothing."""
    plan = plan_experiment(tiny(), classes=8)
    drawn = step_time_figure([estimated_budget(plan, clips=4, is_cached=False)])
    work, memory = drawn.figure.axes
    assert work.get_xlabel().startswith("multiply-adds of a training step")
    assert memory.get_xlabel().startswith("peak memory of a worker")
    texts = [text.get_text() for axes in drawn.figure.axes for text in axes.texts]
    assert not any("clips/s" in text or " ms" in text for text in texts)
    twin = step_time_figure([recorded_budget("a run", RECORDED, PLAN)])
    assert any("clips/s" in text.get_text() for text in twin.figure.axes[0].texts)


def test_in_a_pack_the_others_stand_apart_and_the_devices_peak_is_not_its_own():
    budget = recorded_budget("an arm", {**RECORDED, **ON_GPU, "time/mean_own_step_s": 0.2}, PLAN)
    assert budget.is_shared
    assert budget.seconds["own"] == 0.2
    assert budget.seconds["others"] == pytest.approx(0.25)
    assert not {"side", "optimizer"} & budget.seconds.keys()
    assert budget.step_seconds == pytest.approx(0.8)
    assert math.isnan(budget.measured_gib)


def test_a_run_that_did_not_end_has_no_times():
    with pytest.raises(InputError, match=r"run x: has no times of a step.* fix: let it finish"):
        recorded_budget("run x", {"time/step_s": 0.5})


def test_an_estimate_adds_up_to_the_plans_step():
    spec = tiny()
    plan = plan_experiment(spec, classes=8)
    budget = estimated_budget(plan, clips=spec.clips_per_part, is_cached=False)
    assert budget.step_seconds == pytest.approx(plan.estimates["step_seconds"])
    assert budget.seconds["recompute"] == pytest.approx(
        plan.estimates["recompute_share"] * plan.estimates["step_seconds"]
    )
    twin = estimated_budget(plan, clips=2 * spec.clips_per_part, is_cached=False)
    assert twin.step_seconds != pytest.approx(plan.estimates["step_seconds"])


def test_features_from_a_slow_disk_are_waited_for():
    spec = tiny(features={"kind": "cached", "views": 4})
    plan = plan_experiment(spec, classes=8, clips=ClipCounts(20, 20), disk_gigabytes_per_second=1e-6)
    budget = estimated_budget(plan, clips=spec.clips_per_part, is_cached=True)
    assert budget.step_seconds == pytest.approx(plan.estimates["step_seconds"])
    assert budget.seconds["reading"] > 0.9 * budget.step_seconds
    assert "backbone" not in budget.seconds


def widths(axes, row):
    """The drawn parts of a bar, those of no width left out."""
    bars = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == row]
    return [round(bar.get_width(), 6) for bar in bars if bar.get_width()]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().texts]


def test_bars_are_milliseconds_and_memory_stands_below():
    report_figure = step_time_figure([recorded_budget("a run", RECORDED, PLAN)])
    time, memory = report_figure.figure.axes
    assert widths(time, 0) == [100, 50, 200, 375, 75]
    assert legend(time)[:3] == ["waiting for data", "copy to the device", "frozen backbone"]
    assert widths(memory, 0) == [0.5, 0.25, 1.25]
    (mark,) = memory.lines
    assert list(mark.get_xdata()) == [2.5, 2.5]
    assert "2.00 GiB predicted · 2.50 GiB measured" in memory.texts[-1].get_text()
    assert "the black line is the measured peak (on a CPU: the tensors of a step)." in report_figure.caption
    on_gpu = step_time_figure([recorded_budget("a run", {**RECORDED, **ON_GPU}, PLAN)])
    assert "the black line is the measured peak." in on_gpu.caption


def test_long_steps_are_in_seconds():
    budget = recorded_budget("a run", {**RECORDED, "time/mean_backbone_s": 2.0})
    report_figure = step_time_figure([budget])
    (time,) = report_figure.figure.axes  # no plan was kept: there is no memory to draw
    assert time.get_xlabel() == "time of a training step, s"
    assert widths(time, 0) == [0.1, 0.05, 2.0, 0.375, 0.075]

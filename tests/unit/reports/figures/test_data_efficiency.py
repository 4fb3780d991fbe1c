"""Accuracy against the share of the data: lines, seeds, and what may not stand in one line."""

import itertools

import pytest

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.reports.figures.data_efficiency import (
    EfficiencyLine,
    SharePoint,
    data_efficiency_figure,
    efficiency_lines,
)
from side4video.tracking.run_store import StoredRun
from tiny import tiny

NUMBERS = itertools.count()
PROBE = {"method": {"kind": "linear"}}


def run(share, top1, *, state="finished", fingerprint="the clips", data=None, **changes):
    number = next(NUMBERS)
    spec = tiny(data={**(data or {}), "train_fraction": share}, **changes)
    return StoredRun(
        run_id=f"{number:032x}"[::-1],
        name="tiny",
        status="FINISHED",
        params=dotted(spec.resolved()),
        metrics={"eval/top1": top1},
        tags={"state": state, "dataset_fingerprint": fingerprint},
        artifact_uri="",
        experiment_id="1",
        start_ms=number,
        end_ms=number,
    )


def complaint(runs, **options):
    with pytest.raises(InputError) as caught:
        efficiency_lines(runs, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_line_a_method_a_point_a_share_a_value_a_seed():
    runs = [
        run(1.0, 0.75),
        run(0.1, 0.5, seed=1),
        run(0.1, 0.25, seed=0),
        run(0.1, 0.2, **PROBE),
        run(1.0, 0.3, **PROBE),
    ]
    lines, told = efficiency_lines(runs)
    assert [line.label for line in lines] == ["side4video", "linear"]
    assert lines[0].points == (SharePoint(0.1, (0.5, 0.25)), SharePoint(1.0, (0.75,)))
    assert lines[1].points == (SharePoint(0.1, (0.2,)), SharePoint(1.0, (0.3,)))
    assert told == []
    assert lines[0].points[0].spread.mean == 0.375


def test_of_two_runs_of_a_seed_the_first_counts_and_unfinished_ones_never():
    runs = [run(0.1, 0.5), run(0.1, 0.9), run(1.0, 0.75), run(0.5, 0.1, state="stopped")]
    (line,), _ = efficiency_lines(runs)
    assert line.points == (SharePoint(0.1, (0.5,)), SharePoint(1.0, (0.75,)))


def test_runs_of_a_line_that_differ_in_more_are_refused_and_named():
    runs = [run(0.1, 0.5), run(1.0, 0.75, optimization={"learning_rate": 0.5})]
    line = complaint(runs)
    for word in (
        "data-efficiency: optimization.learning_rate: ",
        "0.5 in tiny (",
        "fix: ",
        "--anyway optimization.lea",
    ):
        assert word in line, line
    (found,), told = efficiency_lines(runs, anyway=["optimization.learning_rate"])
    assert len(found.points) == 2
    assert told[0].startswith("Runs of a line differ in optimization.learning_rate: ")


def test_other_data_and_another_protocol_are_refused():
    line = complaint([run(0.1, 0.5), run(1.0, 0.75, fingerprint="other clips")])
    assert "data-efficiency: data.dataset: fingerprint " in line
    line = complaint([run(0.1, 0.5), run(1.0, 0.75), run(1.0, 0.3, data={"frames": 2}, **PROBE)])
    assert "data-efficiency: data.frames: " in line


def test_what_repeats_a_run_may_differ():
    runs = [run(0.1, 0.5, seed=3, name="a"), run(1.0, 0.75, seed=4, cluster={"workers": 2}, data={"seed": 1})]
    (line,), _ = efficiency_lines(runs)
    assert [point.share for point in line.points] == [0.1, 1.0]


def test_one_share_is_nothing_to_draw():
    assert "have one share of the training data: 1.0 in tiny (" in complaint([run(1.0, 0.5)])
    assert "have no share of the training data: none" in complaint([run(0.1, 0.5, state="failed")])
    assert "--set data.train_fraction=0.1" in complaint([])


def test_lines_that_are_called_alike_say_what_tells_them_apart():
    def both(**changes):
        return [run(0.1, 0.5, **changes), run(1.0, 0.75, **changes)]

    lines, _ = efficiency_lines([*both(), *both(method={"layers": 1})])
    assert {line.label for line in lines} == {"side4video, layers 1", "side4video, layers 2"}


LINES = [
    EfficiencyLine("ours", (SharePoint(0.05, (0.25, 0.5)), SharePoint(1.0, (0.75,)))),
    EfficiencyLine("probe", (SharePoint(0.05, (0.1,)), SharePoint(1.0, (0.2,)))),
]


def test_means_deviations_and_seeds_are_drawn():
    report_figure = data_efficiency_figure(LINES)
    (axes,) = report_figure.figure.axes
    lines = {container.get_label(): container for container in axes.containers}
    mean = lines["ours"].lines[0]
    assert list(mean.get_xdata()) == [5, 100]
    assert list(mean.get_ydata()) == [37.5, 75]
    (low, high), _ = lines["ours"].lines[2][0].get_segments()
    assert (high - low)[1] == pytest.approx(2 * 100 * 0.25 / 2**0.5)
    seeds = [line for line in axes.lines if line.get_alpha() == 0.5]
    assert [list(line.get_ydata()) for line in seeds] == [[25, 50]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "100"]
    assert axes.get_xscale() == "log"
    assert "Means over 1 to 2 seeds (dots)" in report_figure.caption


def test_shares_that_are_near_stand_on_a_linear_scale():
    near = [EfficiencyLine("ours", (SharePoint(0.5, (0.25,)), SharePoint(1.0, (0.75,))))]
    assert data_efficiency_figure(near).figure.axes[0].get_xscale() == "linear"
    assert "seeds" not in data_efficiency_figure(near).caption


def test_numbers_of_clips_are_drawn_as_they_are():
    runs = [run(1.0, top1, data={"shots": shots}) for shots, top1 in ((16, 0.75), (2, 0.25), (4, 0.5))]
    lines, _ = efficiency_lines([*runs, run(1.0, 0.9)])  # the last one has all clips, which is no number
    assert [(point.share, point.values) for point in lines[0].points] == [(2, (0.25,)), (4, (0.5,)), (16, (0.75,))]
    drawn = data_efficiency_figure(lines)
    (axes,) = drawn.figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "16"]
    assert axes.get_xlabel() == "training clips of each class"
    assert drawn.numbers["side4video"][0] == {"shots": 2, "values": [0.25], "mean": 0.25}
    assert "number of training clips of each class" in drawn.caption


def test_numbers_of_clips_of_other_data_are_refused():
    runs = [run(1.0, 0.2, data={"shots": 2}), run(1.0, 0.5, fingerprint="other clips", data={"shots": 4})]
    assert "data-efficiency: data.dataset: fingerprint " in complaint(runs)

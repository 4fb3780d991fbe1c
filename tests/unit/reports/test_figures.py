"""The figures, judged through matplotlib's objects: values named, nothing over another, the right front."""

import itertools
import random
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.text import Annotation

from side4video.reports.figures.parallel_coordinates import axis_of, draw_parallel_coordinates
from side4video.reports.figures.pareto import draw_pareto, pareto_front
from side4video.reports.figures.style import new_figure, save_figure
from side4video.reports.figures.sweep import coordinates_figure, pareto_figure


def ink(path):
    """Share of pixels that are not white, and the width."""
    image = matplotlib.image.imread(path)
    return float((image[..., :3] < 0.9).any(axis=-1).mean()), image.shape[1]


def tick_labels(figure):
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def names(figure):
    """The annotations of the last axes' figure, with the boxes that they take."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    notes = [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]
    return {text.get_text(): text.get_window_extent(renderer) for text in notes}


@pytest.mark.parametrize("draw", [coordinates_figure, pareto_figure])
def test_pictures_are_written_wide_and_not_empty(draw, table_9_rows, tmp_path):
    share, width = ink(save_figure(draw(table_9_rows).figure, tmp_path / "figure.png"))
    assert width == 1200
    assert share > 0.01
    empty, _ = ink(save_figure(new_figure(8, 4), tmp_path / "empty.png"))
    assert empty == 0


# ---- parallel coordinates


def missing_categories(figure, rows):
    wanted = {"3D conv", "attention", "false", "true", "GAP", "ViT [CLS]", "extra [CLS]", "4", "6", "12", "128", "512"}
    assert {"temporal", "layers"} <= rows[0].swept.keys()
    return wanted - set(tick_labels(figure))


def test_every_category_is_named(table_9_rows):
    assert missing_categories(draw_parallel_coordinates(table_9_rows), table_9_rows) == set()
    fewer = [row for row in table_9_rows if row.label != "Attention"]
    assert missing_categories(draw_parallel_coordinates(fewer), fewer) == {"3D conv", "attention"}


def test_the_metric_comes_last_with_a_line_for_each_arm(table_9_rows):
    figure = draw_parallel_coordinates(table_9_rows)
    headings = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert headings == ["temporal", "shift", "representation", "layers", "dim", "top-1, %"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert len(lines) == 9
    assert len({line.get_color() for line in lines.values()}) >= 8
    ends = {label: line.get_ydata()[-1] for label, line in lines.items()}
    assert max(ends, key=ends.__getitem__) == max(lines, key=lambda label: lines[label].get_linewidth())


def test_lines_through_one_value_do_not_hide_each_other(grid):
    lines = draw_parallel_coordinates(grid).axes[0].lines
    between = [tuple(round(float(y), 6) for y in line.get_ydata()[1:59]) for line in lines]
    assert len(set(between)) == len(lines) == 18


def test_each_line_passes_the_ticks_of_its_values(grid):
    """Between two axes lines are spread, so that a twin that looks there finds other heights."""
    lines = draw_parallel_coordinates(grid).axes[0].lines
    ticks = {round(height, 6) for height, _ in axis_of("layers", [row.swept["layers"] for row in grid]).ticks}
    assert {round(float(line.get_ydata()[0]), 6) for line in lines} <= ticks
    assert not {round(float(line.get_ydata()[10]), 6) for line in lines} <= ticks


def test_equal_best_arms_are_all_called_bold(arm):
    values = {"one": 0.5, "two": 0.5, "three": 0.3}
    rows = [arm(name, 0.5, swept={"a": name}, metrics={"eval/top1": value}) for name, value in values.items()]
    figure = draw_parallel_coordinates(rows)
    widths = sorted(line.get_linewidth() for line in figure.axes[0].lines)
    assert widths[0] < widths[1] == widths[2]
    assert "bold: the best, equal, one and two" in figure.texts[0].get_text()
    alone = draw_parallel_coordinates(rows[1:])
    assert "bold: the best, two" in alone.texts[0].get_text()


def test_the_number_of_heights_is_that_of_the_values(grid):
    assert len(set(axis_of("layers", [row.swept["layers"] for row in grid]).heights)) == 3


def test_an_arm_that_was_cut_short_is_dashed_and_not_bold(arm):
    rows = [arm("good", 0.4, swept={"a": 1}), arm("stopped", 0.8, states=("stopped",) * 3, swept={"a": 2})]
    good, stopped = sorted(draw_parallel_coordinates(rows).axes[0].lines, key=lambda line: line.get_label())
    assert stopped.is_dashed()
    assert not good.is_dashed()
    assert good.get_linewidth() > stopped.get_linewidth()


def test_numbers_rise_and_names_keep_their_order():
    def order(values):
        return [text for _, text in sorted(axis_of("x", values).ticks)]

    assert order([12, 4, 6, 4]) == ["4", "6", "12"]
    assert order([True, False]) == order([False, True]) == ["false", "true"]
    assert order(["top", "interval", [1, 5]]) == ["[1, 5]", "interval", "top"]
    assert order([None, 0.2, 0.1]) == ["0.1", "0.2", "none"]
    assert order(["a", "b"]) == ["b", "a"]


def test_many_numbers_stand_on_a_scale():
    rng = random.Random(0)
    rates = [10 ** rng.uniform(-5, -2) for _ in range(40)]
    drops = [rng.uniform(0.001, 0.5) for _ in range(40)]
    by_ratio, by_step = axis_of("rate", rates), axis_of("drop", drops)
    assert not by_ratio.is_named
    assert 3 <= len(by_ratio.ticks) <= 8
    assert 3 <= len(by_step.ticks) <= 8
    heights = {text: height for height, text in by_ratio.ticks}
    assert heights["0.001"] == pytest.approx(np.log(0.001 / min(rates)) / np.log(max(rates) / min(rates)))
    assert np.ptp(np.diff([height for height, _ in by_step.ticks])) < 1e-9
    assert axis_of("few", rates[:12]).is_named


def test_arms_that_differ_in_nothing_swept_are_told_apart_by_name(arm):
    figure = draw_parallel_coordinates([arm("ST-Adapter", 0.4), arm("AIM", 0.5)])
    assert {"ST-Adapter", "AIM"} <= set(tick_labels(figure))


# ---- Pareto


def front_by_definition(points, mode):
    def no_worse(a, b):
        return a[0] <= b[0] and (a[1] >= b[1] if mode == "max" else a[1] <= b[1])

    return {
        place
        for place, own in enumerate(points)
        if not any(no_worse(other, own) and not no_worse(own, other) for other in points)
    }


def finds_the_front(function):
    rng = random.Random(0)
    for _ in range(200):
        points = [(rng.randint(1, 6), rng.randint(1, 6)) for _ in range(rng.randint(1, 12))]
        if any(function(points, mode=mode) != front_by_definition(points, mode) for mode in ("max", "min")):
            return False
    return True


def best_for_each_memory(points, *, mode):
    best = max if mode == "max" else min
    return {i for i, (x, y) in enumerate(points) if y == best(value for memory, value in points if memory == x)}


def test_the_front_is_what_no_arm_beats():
    assert finds_the_front(pareto_front)
    assert not finds_the_front(best_for_each_memory)


def front_corners(rows):
    """Where the stairs turn, without their end at the edge."""
    return list(draw_pareto(rows).axes[0].lines[0].get_xdata())[:-2]


def test_the_front_is_named_and_an_arm_cut_short_is_never_on_it(arm):
    rows = [arm("small", 0.4, memory=1), arm("large", 0.6, memory=3), arm("beaten", 0.3, memory=2)]
    stopped = arm("stopped", 0.9, memory=0.5, states=("stopped",) * 3)
    front = front_corners(rows)
    with_stopped = draw_pareto([*rows, stopped])
    assert {"small", "large", "beaten", "stopped"} <= set(names(with_stopped))
    assert front_corners([*rows, stopped]) == front
    finished = replace(stopped, runs=tuple(replace(run, state="finished") for run in stopped.runs))
    assert front_corners([*rows, finished])[0] == 0.5


def overlapping(boxes):
    return [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]


def test_names_do_not_overlap(table_9_rows, grid):
    for rows in (table_9_rows, grid):
        figure = draw_pareto(rows)
        assert len(names(figure)) >= 5
        assert overlapping(names(figure)) == []


def test_names_that_overlap_are_noticed(grid):
    figure = draw_pareto(grid)
    for text in figure.axes[0].texts:
        text.set_position((0, 10))
    assert overlapping(names(figure))


def test_the_papers_points_are_hollow(table_9_rows):
    def hollow(rows):
        return [line for line in draw_pareto(rows).axes[0].lines if line.get_markerfacecolor() == "white"]

    assert len(hollow(table_9_rows)) == 9
    assert hollow([replace(row, paper={}) for row in table_9_rows]) == []


def test_memory_is_logarithmic_where_it_spans_much(arm):
    def scale(largest):
        return draw_pareto([arm("a", 0.4, memory=1.0), arm("b", 0.5, memory=largest)]).axes[0].get_xscale()

    assert (scale(8.0), scale(8.1)) == ("linear", "log")


def test_seeds_have_error_bars(arm):
    def bars(seeds):
        axes = draw_pareto([arm("a", 0.4, seeds=seeds), arm("b", 0.5, seeds=seeds)]).axes[0]
        return sum(container.has_yerr for container in axes.containers)

    assert (bars((0, 1)), bars((0,))) == (2, 0)


def test_memory_says_whether_it_was_planned(arm):
    measured = {"memory/peak_gib": 2.0}
    assert "planned" in draw_pareto([arm("a", 0.4)]).axes[0].get_xlabel()
    assert "measured" in draw_pareto([arm("a", 0.4, metrics=measured)]).axes[0].get_xlabel()


@pytest.mark.parametrize("draw", [draw_parallel_coordinates, draw_pareto])
def test_nothing_to_draw_is_said(draw, arm):
    for rows in ([], [arm("refused", 0.5, states=("refused",) * 3)]):
        assert draw(rows).texts[0].get_text().startswith("no arm has")

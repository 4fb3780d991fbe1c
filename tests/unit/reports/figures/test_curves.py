"""Learning curves: where a value stands in epochs, which is best, and what is drawn of it."""

import math

import pytest

from side4video.core.metric import MAX_VALUE
from side4video.reports.figures.curves import MAX_NAMED_ARMS, Curve, arm_curves_figure, curves_of, mean_curve

HISTORY = {
    # Four steps an epoch; evaluated after the second and the fourth.
    "eval/epoch": {7: 1.0, 15: 3.0},
    "eval/top1": {7: 0.5, 15: 0.75},
    "eval/loss": {7: 1.5, 15: MAX_VALUE},
    "train/loss": {1: 2.0, 3: 1.0, 15: 0.5},
    "eval/t2v_r1": {7: math.nan},
}


def test_values_stand_where_their_epochs_end():
    found = curves_of(HISTORY)
    assert found["eval/top1"] == Curve((2.0, 4.0), (0.5, 0.75))
    assert found["train/loss"] == Curve((0.5, 1.0, 4.0), (2.0, 1.0, 0.5))
    assert "eval/epoch" not in found


def twin_that_counts_from_zero(history):
    """As if the step after which an epoch was over were its first."""
    last = max(history["eval/epoch"])
    return {
        name: Curve(tuple(step / (last / (history["eval/epoch"][last] + 1)) for step in values), tuple(values.values()))
        for name, values in history.items()
    }


def test_a_twin_that_counts_from_zero_is_noticed():
    twin = twin_that_counts_from_zero(HISTORY)
    assert twin["eval/top1"].epochs != (2.0, 4.0)
    assert twin["train/loss"].epochs != (0.5, 1.0, 4.0)


def test_what_was_not_finite_is_not_drawn():
    found = curves_of(HISTORY)
    assert found["eval/loss"].values[0] == 1.5
    assert math.isnan(found["eval/loss"].values[1])
    assert "eval/t2v_r1" not in found
    assert curves_of({"train/loss": {1: 2.0}}) == {}


def test_the_best_is_the_first_of_equals_and_never_nan():
    curve = Curve((1.0, 2.0, 3.0, 4.0), (0.5, 0.75, math.nan, 0.75))
    assert curve.best("max") == (2.0, 0.75)
    assert curve.best("min") == (1.0, 0.5)


def test_a_mean_is_of_epochs_that_all_seeds_have():
    one, other = Curve((1.0, 2.0), (0.25, 0.5)), Curve((1.0,), (0.75,))
    assert mean_curve([one, other]) == Curve((1.0,), (0.5,))


def arms(count):
    return {
        f"arm {number}": {
            "eval/top1": Curve((1.0, 2.0, 3.0), (0.1, 0.5 + 0.01 * number, 0.4)),
            "eval/loss": Curve((1.0, 2.0, 3.0), (2.0, 1.0, 1.5)),
        }
        for number in range(count)
    }


def star(figure):
    (found,) = (line for line in figure.axes[1].lines if line.get_marker() == "*")
    return found.get_xdata()[0], found.get_ydata()[0]


def test_the_best_arm_is_starred_and_named():
    report_figure = arm_curves_figure(arms(14), "eval/top1", seeds=3)
    assert report_figure.caption.startswith("Means over 3 seeds. The best top-1 of any epoch is ")
    assert star(report_figure.figure) == (2.0, pytest.approx(63.0))
    assert "63.0%: arm 13, after epoch 2 (starred). Grey: the 7 others." in report_figure.caption
    (legend,) = report_figure.figure.legends
    assert [text.get_text() for text in legend.texts] == [
        f"arm {number}" for number in range(13, 13 - MAX_NAMED_ARMS, -1)
    ]
    lines = {line.get_label(): line for line in report_figure.figure.axes[1].lines if line.get_marker() != "*"}
    assert len(lines) == 14
    assert list(lines["arm 3"].get_ydata()) == pytest.approx([10, 53, 40])
    assert lines["arm 13"].get_linewidth() > lines["arm 12"].get_linewidth()
    assert len({lines[f"arm {number}"].get_color() for number in range(7)}) == 1


def test_where_lower_is_better_the_star_is_at_the_lowest():
    report_figure = arm_curves_figure(arms(2), "eval/loss", mode="min")
    assert star(report_figure.figure) == (2.0, 1.0)
    assert star(arm_curves_figure(arms(2), "eval/loss", mode="max").figure) != (2.0, 1.0)


def test_one_arm_needs_no_legend():
    report_figure = arm_curves_figure(arms(1), "eval/top1")
    assert report_figure.figure.legends == []
    assert "Grey" not in report_figure.caption
    assert "seeds" not in report_figure.caption

"""The confusion matrix: counts by hand, and what the drawn cells and bars say."""

import numpy as np
import pytest

from side4video.reports.figures.confusion import (
    MAX_NAMED_CLASSES,
    MAX_PAIRS,
    Confusion,
    Pair,
    confusion_figure,
    confusion_of,
)

PAIRS_BY_HAND = [("up", "up"), ("up", "down"), ("up", "down"), ("down", "down"), ("left", "elsewhere"), ("left", "up")]
COUNTS = [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]


def test_rows_are_labels_and_columns_guesses(predictions):
    found = confusion_of(predictions(PAIRS_BY_HAND))
    assert found.classes == ("up", "down", "left", "elsewhere")
    assert found.counts_CC.tolist() == COUNTS
    assert found.shares[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert found.shares[3].tolist() == [0, 0, 0, 0]
    twin = Confusion(found.classes, found.counts_CC.T)
    assert twin.counts_CC.tolist() != COUNTS


def test_the_most_confused_pairs_come_first(predictions):
    assert confusion_of(predictions(PAIRS_BY_HAND)).pairs() == [
        Pair("up", "down", 2, 3),
        Pair("left", "elsewhere", 1, 2),
        Pair("left", "up", 1, 2),
    ]


def cells(figure):
    """The texts of the drawn cells by (row, column)."""
    (axes,) = figure.axes
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}


def test_few_classes_are_named_and_each_cell_says_its_share(predictions):
    report_figure = confusion_figure(confusion_of(predictions(PAIRS_BY_HAND)), run="a run")
    assert cells(report_figure.figure) == {(0, 0): "33", (0, 1): "67", (1, 1): "100", (2, 0): "50", (2, 3): "50"}
    (axes,) = report_figure.figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["up", "down", "left", "elsewhere"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "up  (3)",
        "down  (1)",
        "left  (2)",
        "elsewhere  (0)",
    ]
    assert axes.yaxis_inverted()
    assert np.asarray(axes.collections[0].get_array()).reshape(4, 4)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert "2 of 6 held-out videos right (33.3%)" in report_figure.caption
    assert report_figure.numbers["counts"] == COUNTS


def test_many_classes_are_an_image_with_the_most_confused_pairs(many_classes):
    confusion = confusion_of(many_classes(174))
    report_figure = confusion_figure(confusion, run="a run")
    matrix, bars = report_figure.figure.axes[:2]
    assert np.asarray(matrix.images[0].get_array()) ** 2 == pytest.approx(confusion.shares)
    assert len(bars.patches) == MAX_PAIRS
    assert [bar.get_width() for bar in bars.patches] == [pair.videos for pair in confusion.pairs()[:MAX_PAIRS]]
    assert bars.texts[0].get_text() == f"{confusion.pairs()[0].videos} of 4"
    first = bars.get_yticklabels()[0].get_text()
    assert first.endswith(confusion.pairs()[0].guess[-12:])  # the end of a long name stays: there they differ
    assert f"the {MAX_PAIRS} most confused of {len(confusion.pairs()):,} pairs" in report_figure.caption


def test_the_limit_is_where_names_end(many_classes):
    assert len(confusion_figure(confusion_of(many_classes(MAX_NAMED_CLASSES)), run="x").figure.axes) == 1
    assert len(confusion_figure(confusion_of(many_classes(MAX_NAMED_CLASSES + 1)), run="x").figure.axes) == 3


def test_nothing_confused_is_said(predictions):
    names = [str(number) for number in range(MAX_NAMED_CLASSES + 1)]
    right = confusion_figure(confusion_of(predictions(list(zip(names, names, strict=True)))), run="x")
    assert [text.get_text() for text in right.figure.axes[1].texts] == ["nothing is confused"]
    wrong = confusion_figure(confusion_of(predictions(list(zip(names, names[::-1], strict=True)))), run="x")
    assert [text.get_text() for text in wrong.figure.axes[1].texts] == ["1 of 1"] * MAX_PAIRS

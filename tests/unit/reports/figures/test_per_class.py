"""Gains by class: by hand, on the videos that both runs saw, and as they are drawn."""

import pytest

from side4video.core.errors import InputError
from side4video.reports.figures.per_class import (
    MAX_NAMED_CLASSES,
    NAMED_PER_END,
    ClassGain,
    class_differences,
    per_class_figure,
)

OWN = [("a", "a"), ("a", "a"), ("b", "a"), ("b", "b"), ("c", "c"), ("c", "a"), ("c", "c"), ("c", "c")]
OTHER = [("a", "b"), ("a", "a"), ("b", "b"), ("b", "b"), ("c", "c"), ("c", "c"), ("c", "c"), ("c", "b")]


def gains_by_hand(predictions):
    return class_differences("one", predictions(OWN), "two", predictions(OTHER))


def test_gains_are_those_of_the_hand_and_sorted(predictions):
    found = gains_by_hand(predictions)
    assert found.classes == (ClassGain("a", 2, 1.0, 0.5), ClassGain("c", 4, 0.75, 0.75), ClassGain("b", 2, 0.5, 1.0))
    assert [each.gain for each in found.classes] == [0.5, 0.0, -0.5]
    assert found.accuracy == (0.75, 0.75)
    assert found.videos == 8


def test_only_videos_that_both_saw_count(predictions):
    found = class_differences("one", predictions(OWN), "two", predictions(OTHER[4:], first=4))
    assert found.classes == (ClassGain("c", 4, 0.75, 0.75),)
    whole = gains_by_hand(predictions)
    assert found.classes != whole.classes


def test_other_data_are_refused(predictions):
    with pytest.raises(InputError, match=r"--against: video 0 is 'a' in one and 'x' in two .* fix: "):
        class_differences("one", predictions(OWN), "two", predictions([("x", "x")]))
    with pytest.raises(InputError, match=r"--against: two saw no video that one saw"):
        class_differences("one", predictions(OWN), "two", predictions(OTHER, first=100))


def bars(figure):
    """Widths of the last axes' bars by tick label."""
    axes = figure.axes[-1]
    return dict(
        zip(
            [label.get_text() for label in axes.get_yticklabels()],
            [round(bar.get_width(), 6) for bar in axes.patches],
            strict=True,
        )
    )


def test_bars_are_gains_in_points_beside_the_number_of_videos(predictions):
    report_figure = per_class_figure(gains_by_hand(predictions))
    assert bars(report_figure.figure) == {"a (2)": 50, "c (4)": 0, "b (2)": -50}
    assert [text.get_text() for text in report_figure.figure.axes[0].texts] == ["50 → 100%", "75 → 75%", "100 → 50%"]
    assert "75.0% and 75.0%. Of 3 classes 1 gain and 1 lose." in report_figure.caption
    swapped = class_differences("two", predictions(OTHER), "one", predictions(OWN))
    assert bars(per_class_figure(swapped).figure) != bars(report_figure.figure)


def test_the_classes_in_which_the_other_is_worst(predictions):
    """Figure 5 has the ten in which CLIP is worst, in this order."""
    report_figure = per_class_figure(gains_by_hand(predictions), worst=2)
    assert list(bars(report_figure.figure)) == ["a (2)", "c (4)"]
    assert "the 2 in which two is worst" in report_figure.caption


def test_one_run_alone_has_its_accuracies(predictions):
    report_figure = per_class_figure(class_differences("one", predictions(OWN)))
    assert bars(report_figure.figure) == {"a (2)": 100, "c (4)": 75, "b (2)": 50}
    assert report_figure.heading == "Accuracy of each class"


def test_many_classes_are_named_at_both_ends_and_all_stand_in_the_curve(many_classes):
    own, other = many_classes(174), many_classes(174, every=2)
    differences = class_differences("one", own, "two", other)
    report_figure = per_class_figure(differences)
    assert len(bars(report_figure.figure)) <= 2 * NAMED_PER_END  # abridged names may be alike
    assert len(report_figure.figure.axes[-1].patches) == 2 * NAMED_PER_END
    shown = [*differences.classes[:NAMED_PER_END], *differences.classes[-NAMED_PER_END:]]
    drawn = [bar.get_width() for bar in report_figure.figure.axes[-1].patches]
    assert drawn == pytest.approx([100 * each.gain for each in shown])
    above = report_figure.figure.axes[0].collections[0].get_paths()[0].vertices[:, 1].max()
    assert above == pytest.approx(100 * differences.classes[0].gain)
    assert len(report_figure.numbers) == 174
    assert len(per_class_figure(class_differences("one", many_classes(MAX_NAMED_CLASSES))).figure.axes) == 1

"""Lines are as wide as there is room, as they are drawn."""

import pytest

from side4video.reports.figures.style import DPI, new_figure, wrap_text

WORDS = ("What it is. " * 20, "ill fill till " * 20, "WWW mmm @@@ " * 20)


def width_of(line, points):
    figure = new_figure(8, 1)
    text = figure.text(0, 0, line, fontsize=points)
    return text.get_window_extent(figure.canvas.get_renderer()).width / DPI


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("points", [7.0, 9.0])
def test_lines_fill_the_width_and_stay_within(text, points):
    lines = wrap_text(text, inches=5.0, points=points)
    assert " ".join(lines) == text.strip()
    widths = [width_of(line, points) for line in lines]
    assert max(widths) <= 5.0
    assert all(width > 4.0 for width in widths[:-1])


def test_a_long_word_stands_alone():
    assert wrap_text(f"a {'w' * 200} b", inches=2.0, points=9.0) == ["a", "w" * 200, "b"]
    assert wrap_text("", inches=2.0, points=9.0) == [""]

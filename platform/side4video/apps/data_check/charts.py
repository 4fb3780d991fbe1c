"""Bar charts of a checked data set: training and test clips stacked."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from side4video.apps.data_check.report import Counts, Histogram
from side4video.core.text import printable
from side4video.core.units import format_bytes
from side4video.data.clip import SPLITS
from side4video.reports.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    WIDTH,
    label_axes,
    legend_below,
    new_figure,
    shorten,
    style_axes,
)

HEIGHT = 2.4
"""Inches."""
MAX_NAMED_BARS = 8
MAX_NAME_LENGTH = 15
_COLOURS = {"train": BLUE, "val": GREEN, "test": ORANGE}


def histogram_chart(histogram: Histogram, *, x: str, y: str = "clips") -> Figure:
    """A bar for each bin; bins are equally wide on paper, also where edges grow geometrically.

    `x` says what is measured, with its unit; `y` what is counted.
    """
    bins = len(histogram.edges) - 1
    figure, axes = _stacked_bars(histogram.counts, bins)
    step = max(1, bins // MAX_NAMED_BARS)
    if all(abs(high - low - 1) < 1e-6 and low % 1 == 0.5 for low, high in pairwise(histogram.edges)):
        ticks = {index: f"{histogram.edges[index] + 0.5:g}" for index in range(0, bins, step)}
    else:
        ticks = {index - 0.5: value_text(histogram.edges[index], histogram.unit) for index in range(0, bins + 1, step)}
    axes.set_xticks(list(ticks), list(ticks.values()))
    label_axes(axes, x=x, y=y)
    return figure


def count_chart(counts: Counts, *, x: str, y: str = "clips") -> Figure:
    """A bar for each name, the most frequent first; few bars have their names below them.

    `x` says what the names are, `y` what is counted.
    """
    ranked = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    shown = [split for split in SPLITS if any(split in numbers for numbers in counts.values())]
    by_split = {split: [numbers.get(split, 0) for _, numbers in ranked] for split in shown}
    figure, axes = _stacked_bars(by_split, len(ranked))
    if len(ranked) > MAX_NAMED_BARS:
        axes.set_xticks([])
        x = f"{x} ({len(ranked)}, the most frequent first)"
    else:
        names = [shorten(printable(name), MAX_NAME_LENGTH) for name, _ in ranked]
        axes.set_xticks(range(len(ranked)), names, parse_math=False)
    label_axes(axes, x=x, y=y)
    return figure


def value_text(value: float, unit: str) -> str:
    """A value as printed at an axis."""
    return format_bytes(value) if unit == "bytes" else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _stacked_bars(counts: Mapping[str, Sequence[int]], bars: int) -> tuple[Figure, Axes]:
    figure = new_figure(WIDTH, HEIGHT, layout="constrained")
    axes = style_axes(figure.subplots())
    bottom = [0] * bars
    handles = []
    shown = [split for split in SPLITS if split in counts]
    for split in shown:
        heights = counts[split]
        handles.append(axes.bar(range(bars), heights, 0.85, bottom, color=_COLOURS[split]))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xlim(-max(0.5, (MAX_NAMED_BARS - bars) / 2), bars - 1 + max(0.5, (MAX_NAMED_BARS - bars) / 2))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend_below(figure, handles, shown)
    return figure, axes

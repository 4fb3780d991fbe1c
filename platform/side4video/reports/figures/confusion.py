"""The confusion matrix of a run's predictions, and the most confused pairs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.predictions import Predictions
from side4video.reports.figures.style import (
    INK,
    ORANGE,
    SOFT,
    TEXT,
    annotate_bar,
    label_axes,
    new_figure,
    shorten_middle,
    style_axes,
)

MAX_NAMED_CLASSES = 20
"""With more classes than this, cells are too small for names and figures."""
MAX_PAIRS = 20
"""Of the most confused pairs, so many are named."""
_SHADES = LinearSegmentedColormap.from_list("shares", ["#f7fbff", "#9ecae1", "#2171b5", "#08306b"])
_ON_LIGHT, _ON_DARK = "#1a1a1a", "#fdfdfd"


@dataclass(frozen=True)
class Pair:
    """Videos of one class that were taken for another."""

    label: str
    guess: str
    videos: int
    of: int
    """All videos of the label's class."""


@dataclass(frozen=True)
class Confusion:
    """Counts of videos [C, C]: a row is a label, a column what it was taken for."""

    classes: tuple[str, ...]
    counts_CC: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The same [C, C] as shares of the videos of a row; zero where it has none."""
        return self.counts_CC / np.maximum(self.counts_CC.sum(axis=1, keepdims=True), 1)

    def pairs(self) -> list[Pair]:
        """Labels and wrong guesses that occur: most videos first, then the largest share."""
        totals_C = self.counts_CC.sum(axis=1)
        found = [
            Pair(self.classes[row], self.classes[column], int(self.counts_CC[row, column]), int(totals_C[row]))
            for row, column in np.argwhere(self.counts_CC)
            if row != column
        ]
        return sorted(found, key=lambda pair: (-pair.videos, pair.of, pair.label, pair.guess))


def confusion_of(predictions: Predictions) -> Confusion:
    """The counts of a run, classes in the order of its data set."""
    indices = {name: index for index, name in enumerate(predictions.classes)}
    counts_CC = np.zeros((len(indices), len(indices)), np.int64)
    for (label, guess), videos in Counter((each.label, each.guess) for each in predictions.videos).items():
        counts_CC[indices[label], indices[guess]] = videos
    return Confusion(predictions.classes, counts_CC)


def confusion_figure(confusion: Confusion, *, run: str) -> ReportFigure:
    """The figure: of few classes the matrix with shares in percent; of many the matrix, and the most confused pairs.

    `run` is what the run is called.
    """
    videos, right = int(confusion.counts_CC.sum()), int(np.trace(confusion.counts_CC))
    pairs = confusion.pairs()
    caption = f"{run}: {right:,} of {videos:,} held-out videos right ({100 * right / videos:.1f}%). A row is a class, "
    caption += "a column the class that was predicted, in percent of the row."
    is_small = len(confusion.classes) <= MAX_NAMED_CLASSES
    if not is_small and pairs:
        caption += f" Right: the {min(MAX_PAIRS, len(pairs))} most confused of {len(pairs):,} pairs."
    return ReportFigure(
        "confusion",
        "Confusion matrix",
        caption,
        _draw_small(confusion) if is_small else _draw_large(confusion, pairs),
        {
            "classes": list(confusion.classes),
            "counts": confusion.counts_CC.tolist(),
            "pairs": [vars(pair) for pair in pairs[:MAX_PAIRS]],
        },
    )


def _draw_small(confusion: Confusion) -> Figure:
    count = len(confusion.classes)
    names = [shorten_middle(name, 30) for name in confusion.classes]
    longest = max(map(len, names))
    side = max(2.6, 0.46 * count)
    figure = new_figure(side + 1.4 + 0.07 * longest, side + 0.7 + 0.05 * longest, layout="constrained")
    axes = figure.add_subplot()
    edges = np.arange(count + 1) - 0.5
    axes.pcolormesh(edges, edges, confusion.shares, cmap=_SHADES, vmin=0, vmax=1, edgecolors=SOFT, linewidth=0.3)
    for (row, column), share in np.ndenumerate(confusion.shares):
        if confusion.counts_CC[row, column]:
            colour = _ON_DARK if share > 0.5 else _ON_LIGHT
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    totals = confusion.counts_CC.sum(axis=1)
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), [f"{name}  ({total})" for name, total in zip(names, totals, strict=True)])
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)
    label_axes(axes, x="predicted class, % of the row", y="true class (videos)")
    return figure


def _draw_large(confusion: Confusion, pairs: list[Pair]) -> Figure:
    """The matrix without names, and beside it the pairs as bars."""
    figure = new_figure(11.0, 5.8)
    figure.set_layout_engine("constrained", w_pad=0.1)
    matrix, bars = figure.subplots(1, 2, width_ratios=[1, 0.5])
    # An image: tens of thousands of cells as shapes would make a page heavy. The root makes a few percent visible.
    shown = matrix.imshow(np.sqrt(confusion.shares), cmap=_SHADES, vmin=0, vmax=1, interpolation="nearest")
    matrix.tick_params(labelsize=8, labelcolor=INK, color=SOFT)
    matrix.spines[:].set_color(SOFT)
    label_axes(matrix, x="predicted class (its place in the data set)", y="true class (its place)")
    ticks = (0.0, 0.05, 0.25, 0.5, 1.0)
    bar = figure.colorbar(shown, ax=matrix, location="bottom", shrink=0.6, aspect=40, pad=0.02)
    bar.set_ticks([share**0.5 for share in ticks], labels=[f"{100 * share:.0f}%" for share in ticks])
    bar.ax.tick_params(labelsize=8, labelcolor=INK, color=SOFT)
    bar.outline.set_visible(False)
    bar.set_label("share of the row's videos", fontsize=8, color=INK)
    _draw_pairs(bars, pairs[:MAX_PAIRS])
    return figure


def _draw_pairs(axes: Axes, pairs: list[Pair]) -> None:
    if not pairs:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing is confused", ha="center", fontsize=TEXT, color=INK)
        return
    style_axes(axes, grid="x")
    axes.barh(range(len(pairs)), [pair.videos for pair in pairs], 0.62, color=ORANGE)
    for index, pair in enumerate(pairs):
        annotate_bar(axes, f"{pair.videos} of {pair.of}", pair.videos, index)
    names = [f"{shorten_middle(pair.label, 44)}\n→ {shorten_middle(pair.guess, 44)}" for pair in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=6.5)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.25 * max(pair.videos for pair in pairs))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_axes(axes, x="videos", y="true class → predicted class")

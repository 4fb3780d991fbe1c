"""Names beside the points of a figure, none over another.

Greedy: in the order given, each name takes the nearest free place around its point; one that finds none is left out,
unless it is needed, when it goes as far away as it must. Lengths are pixels of the figure; a box is (left, bottom,
right, top).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from side4video.reports.figures.style import make_plain

_NEAR = (7.0, 13.0, 22.0)
_FAR = (34.0, 50.0, 70.0, 95.0, 125.0, 160.0)
_SIDES = (
    *((0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)),
    *((1, 0), (-1, 0), (0.5, 1), (-0.5, 1), (0.5, -1), (-0.5, -1)),
)
"""Where the name's box stands: right (1) or left (-1) of the point, above (1) or below it."""
_LEADER_FROM = 20.0
_SOFT_COST = 9.0
_EDGE = 3.0
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A name to be placed beside a point."""

    text: str
    x: float
    """Data coordinates."""
    y: float
    size: float
    """Points."""
    colour: str
    weight: str = "normal"
    is_needed: bool = False
    """Whether it may stand far from its point, with a line to it, rather than be left out."""


def place_labels(
    axes: Axes, labels: Sequence[Label], *, figure: Figure, occupied: Sequence[Box], excluded: Sequence[Box]
) -> list[str]:
    """Draw the names; returns those that found no place.

    The most important label is the first one. Names never cover what is `occupied` (markers), and `excluded` boxes
    (lines) only if there is nowhere else. The Agg canvas of `figure` measures text; limits and position of the axes
    must not change afterwards.
    """
    occupied, omitted = list(occupied), []
    canvas = figure.canvas
    renderer = canvas.get_renderer() if isinstance(canvas, FigureCanvasAgg) else None
    inside = np.array(axes.get_window_extent(renderer).padded(-_EDGE).extents)
    lines = np.array(excluded).reshape(-1, 4)
    for label in labels:
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=label.size,
            color=label.colour,
            fontweight=label.weight,
            zorder=6,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
        text.set_in_layout(False)
        make_plain(text)
        size = text.get_window_extent(renderer)
        x, y = axes.transData.transform((label.x, label.y))
        blocked = np.array(occupied).reshape(-1, 4)
        found = _free_box((x, y), (size.width, size.height), label, inside=inside, occupied=blocked, excluded=lines)
        if found is None:
            text.remove()
            omitted.append(label.text)
            continue
        box, distance = found
        occupied.append(box)
        # In points: an SVG's and a PDF's pixels are larger than those that were measured.
        points = 72 / figure.dpi
        text.set_position((points * ((box[0] + box[2]) / 2 - x), points * ((box[1] + box[3]) / 2 - y)))
        if distance >= _LEADER_FROM:
            _draw_leader(axes, (x, y), box)
    return omitted


def _free_box(
    point: tuple[float, float],
    size: tuple[float, float],
    label: Label,
    *,
    inside: NDArray[np.float64],
    occupied: NDArray[np.float64],
    excluded: NDArray[np.float64],
) -> tuple[Box, float] | None:
    """The cheapest free box and its distance: near, and over few lines."""
    best: tuple[float, Box, float] | None = None
    for distance in _NEAR + (_FAR if label.is_needed else ()):
        for order, (right, up) in enumerate(_SIDES):
            reach = distance / max(1.0, math.hypot(right, up))
            x, y = point[0] + right * (reach + size[0] / 2), point[1] + up * (reach + size[1] / 2)
            box = (x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)
            within = inside[0] <= box[0] and inside[1] <= box[1] and box[2] <= inside[2] and box[3] <= inside[3]
            if not within or _overlaps(occupied, box):
                continue
            cost = distance + 0.2 * order + _SOFT_COST * _overlaps(excluded, box)
            if best is None or cost < best[0]:
                best = (cost, box, distance)
    return None if best is None else best[1:]


def _overlaps(boxes: NDArray[np.float64], box: Box) -> int:
    """With how many of the boxes [n, 4] a box overlaps."""
    left, bottom, right, top = box
    apart = (boxes[:, 0] > right) | (boxes[:, 2] < left) | (boxes[:, 1] > top) | (boxes[:, 3] < bottom)
    return int((~apart).sum())


def _draw_leader(axes: Axes, point: tuple[float, float], box: Box) -> None:
    """A thin line from a point to the nearest edge of its name."""
    end = (min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3]))
    (x0, y0), (x1, y1) = axes.transData.inverted().transform([point, end])
    axes.plot([x0, x1], [y0, y1], color="#8a8a8a", linewidth=0.6, zorder=2.5, scalex=False, scaley=False)

"""Memory against the metric, and the front of the arms that no other beats.

Colours: Okabe & Ito's palette, told apart by colour-blind people.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from side4video.reports.arms import (
    MEASURED_MEMORY,
    METRIC,
    ArmResult,
    Mode,
    any_run_mean,
    distinct_arms,
    is_complete,
    memory_key,
    metric_spread,
)
from side4video.reports.figures.labels import Box, Label, place_labels
from side4video.reports.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SOFT,
    WIDTH,
    empty_figure,
    end_shares,
    label_axes,
    legend_below,
    new_figure,
    shorten,
    style_axes,
)
from side4video.tasks.metrics import is_fraction, metric_title, printed_value

_FRONT = BLUE
_PAPER = ORANGE
_MARKERS = {
    "paper": (_PAPER, "o", True),
    "cut short": (SOFT, "x", False),
    "other": (SOFT, "o", False),
    "front": (_FRONT, "o", False),
}
"""Colour, marker and whether it is hollow, from back to front."""
_LEGEND = {
    "paper": "the paper",
    "cut short": "cut short",
    "other": "other arms",
    "front": "front: no arm beats it in both",
}
_MARKER_HALF_SIDE = 8.0
"""Half the side of the box around a marker, in pixels."""
_LOGARITHMIC_FROM = 8
"""Ratio of the largest memory to the smallest."""
_MAX_NAMED_ARMS = 30
"""With more arms than this, only the front and the reference are named."""


@dataclass(frozen=True)
class _Point:
    """A point in the plane of memory (GiB, or MiB if all are small) and metric, as printed."""

    label: str
    memory: float
    value: float
    deviation: float
    kind: str
    """A key of `_MARKERS`."""
    is_reference: bool


def pareto_front(points: Sequence[tuple[float, float]], *, mode: Mode = "max") -> set[int]:
    """Places of the points (memory, value) that no other beats: none is as good in both and better in one."""
    sign = 1 if mode == "max" else -1
    costs = [(memory, -sign * value) for memory, value in points]

    def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    return {index for index, own in enumerate(costs) if not any(dominates(other, own) for other in costs)}


def draw_pareto(rows: Sequence[ArmResult], *, metric: str = METRIC, mode: Mode = "max") -> Figure:
    """Memory against the metric, with the deviation over seeds, and the front of the arms that no other beats.

    The memory axis is logarithmic where it spans a factor above 8. Arms that were stopped early or lost a seed are
    crosses and never make the front. Where the rows bring the paper's figures, these are hollow, with a dotted line to
    our arm; their memory is drawn as printed there.
    """
    key, arms = memory_key(rows), distinct_arms(rows)
    ours = _our_points(arms, metric, key=key, mode=mode)
    papers = {index: point for index, row in enumerate(arms) if (point := _paper_point(row, metric)) is not None}
    if not ours and not papers:
        return empty_figure(f"no arm has both its memory and a value of {metric_title(metric)}")
    unit = "GiB"
    if max(point.memory for point in (*ours.values(), *papers.values())) < 1:
        ours, unit = {index: replace(point, memory=1024 * point.memory) for index, point in ours.items()}, "MiB"
        papers = {index: replace(point, memory=1024 * point.memory) for index, point in papers.items()}
    figure = new_figure(WIDTH, 5.4, layout="constrained")
    axes = figure.add_subplot()
    _scale(axes, [point.memory for point in (*ours.values(), *papers.values())])
    source = "measured" if key == MEASURED_MEMORY else "planned"
    better = "higher is better" if mode == "max" else "lower is better"
    label_axes(
        axes,
        x=f"{source} peak memory, {unit}{' (the paper: as printed)' * bool(papers)}",
        y=f"{metric_title(metric)}{', %' * is_fraction(metric)} ({better})",
    )
    lines = _draw_front(axes, list(ours.values()), mode=mode)
    for index, paper in papers.items():
        if index in ours:
            lines.append([(ours[index].memory, ours[index].value), (paper.memory, paper.value)])
            axes.plot(*zip(*lines[-1], strict=True), ":", color=_PAPER, linewidth=1.0, alpha=0.55, zorder=1.5)
    for kind in _MARKERS:
        _draw_points(axes, [point for point in (*ours.values(), *papers.values()) if point.kind == kind], kind)
    end_shares(axes, y=is_fraction(metric))
    _draw_legend(figure, [*ours.values(), *papers.values()])
    # Names are placed in pixels, so nothing may move any more.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # A paper's point is named only where it stands alone.
    alone = [point for index, point in papers.items() if index not in ours]
    _label_points(figure, axes, [*ours.values(), *alone], markers=[*ours.values(), *papers.values()], lines=lines)
    return figure


def _our_points(arms: Sequence[ArmResult], metric: str, *, key: str, mode: Mode) -> dict[int, _Point]:
    """The arms that have memory and a value, by place."""
    values = {index: metric_spread(row, metric) for index, row in enumerate(arms)}
    memory = {index: any_run_mean(row, key) for index, row in enumerate(arms)}
    drawn = [index for index in values if math.isfinite(values[index].mean) and memory[index] > 0]
    complete = [index for index in drawn if is_complete(arms[index])]
    front = pareto_front([(memory[index], values[index].mean) for index in complete], mode=mode)
    kinds = {index: "front" if order in front else "other" for order, index in enumerate(complete)}
    return {
        index: _Point(
            label=arms[index].label,
            memory=memory[index],
            value=printed_value(metric, values[index].mean),
            deviation=printed_value(metric, values[index].deviation),
            kind=kinds.get(index, "cut short"),
            is_reference=arms[index].is_reference,
        )
        for index in drawn
    }


def _paper_point(row: ArmResult, metric: str) -> _Point | None:
    value, memory = row.paper.get(metric.rsplit("/", 1)[-1], math.nan), row.paper.get("memory_gb", math.nan)
    if not (math.isfinite(value) and memory > 0):
        return None
    return _Point(
        f"{row.label} (the paper)", memory, printed_value(metric, value), math.nan, "paper", is_reference=False
    )


def _scale(axes: Axes, memories: Sequence[float]) -> None:
    """Limits and ticks of the memory axis, margins and grid."""
    low, high = min(memories), max(memories)
    if high > _LOGARITHMIC_FROM * low:
        left, right = low / 1.3, high * 1.3
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        subs = (1, 2, 3, 5, 7) if right < 60 * left else (1, 2, 5) if right < 1000 * left else (1,)
        ticks = [float(tick) for tick in LogLocator(subs=subs).tick_values(left, right) if left <= tick <= right]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        margin = 0.1 * (high - low) or 0.1 * high
        axes.set_xlim(low - margin, high + margin)
    axes.margins(y=0.12)
    style_axes(axes, grid="both")


def _draw_front(axes: Axes, points: Sequence[_Point], *, mode: Mode) -> list[list[tuple[float, float]]]:
    """The front as stairs: what is to be had for so much memory. Returns its corners."""
    front = sorted(
        ((point.memory, point.value) for point in points if point.kind == "front"),
        key=lambda point: (point[0], point[1] if mode == "max" else -point[1]),
    )
    if not front:
        return []
    corners = [front[0]]
    for memory, value in [*front[1:], (axes.get_xlim()[1], front[-1][1])]:
        corners += [(memory, corners[-1][1]), (memory, value)]
    axes.plot(*zip(*corners, strict=True), color=_FRONT, linewidth=1.5, alpha=0.4, zorder=2, scalex=False)
    return [corners]


def _draw_points(axes: Axes, points: Sequence[_Point], kind: str) -> None:
    """All points of a kind; the reference is a diamond."""
    colour, marker, hollow = _MARKERS[kind]
    for point in points:
        axes.errorbar(
            point.memory,
            point.value,
            yerr=point.deviation if math.isfinite(point.deviation) else None,
            fmt="D" if point.is_reference else marker,
            color=colour,
            markerfacecolor="white" if hollow else colour,
            markersize=6.5 if hollow or point.is_reference else 6,
            elinewidth=1.0,
            capsize=2.5,
            zorder=3 if kind != "front" else 4,
        )


def _draw_legend(figure: Figure, points: Sequence[_Point]) -> None:
    """What the marks mean, of those that are there."""
    there = {point.kind for point in points}
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor="white" if hollow else colour, linestyle="none")
        for kind, (colour, marker, hollow) in _MARKERS.items()
        if kind in there
    ]
    names = [_LEGEND[kind] for kind in _MARKERS if kind in there]
    if any(point.is_reference for point in points):
        handles.append(Line2D([], [], color=INK, marker="D", linestyle="none"))
        names.append("reference")
    if any(math.isfinite(point.deviation) for point in points):
        handles.append(Line2D([], [], color=SOFT, marker="|", markersize=11, linestyle="none"))
        names.append("deviation over seeds")
    legend_below(figure, handles, names, columns=6, handletextpad=0.2, columnspacing=1.4)


def _label_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[_Point],
    *,
    markers: Sequence[_Point],
    lines: Sequence[Sequence[tuple[float, float]]],
) -> None:
    """Names: first the front's, which must be there, then the others', lighter, where there is room."""
    needed = [point for point in points if point.kind in {"front", "paper"} or point.is_reference]
    others = [point for point in points if point not in needed] if len(points) <= _MAX_NAMED_ARMS else []
    labels = [
        Label(
            shorten(point.label, 36),
            x=point.memory,
            y=point.value,
            size=8 if point in needed else 7,
            colour=INK if point in needed else FAINT,
            is_needed=point in needed,
        )
        for point in [*needed, *others]
    ]
    marker_boxes, bars = _occupied(axes, markers, lines)
    place_labels(axes, labels, figure=figure, occupied=marker_boxes, excluded=bars)


def _occupied(
    axes: Axes, markers: Sequence[_Point], lines: Sequence[Sequence[tuple[float, float]]]
) -> tuple[list[Box], list[Box]]:
    """The boxes of the markers, and those of error bars and lines, in pixels."""
    to_pixels = axes.transData.transform
    marker_boxes: list[Box] = []
    line_boxes: list[Box] = []
    for point in markers:
        x, y = to_pixels((point.memory, point.value))
        marker_boxes.append(
            (x - _MARKER_HALF_SIDE, y - _MARKER_HALF_SIDE, x + _MARKER_HALF_SIDE, y + _MARKER_HALF_SIDE)
        )
        if math.isfinite(point.deviation):
            reach = abs(to_pixels((point.memory, point.value + point.deviation))[1] - y)
            line_boxes.append((x - 3, y - reach, x + 3, y + reach))
    for line in lines:
        for start, end in itertools.pairwise(line):
            (x0, y0), (x1, y1) = to_pixels([start, end])
            # Small boxes along the line: one around a slanted line would take the whole corner.
            pieces = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / 12))
            for piece in range(pieces + 1):
                x, y = x0 + (x1 - x0) * piece / pieces, y0 + (y1 - y0) * piece / pieces
                line_boxes.append((x - 2, y - 2, x + 2, y + 2))
    return marker_boxes, line_boxes

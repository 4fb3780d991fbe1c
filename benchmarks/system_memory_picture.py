"""The picture of `system_memory.py`: accuracy in the paper against planned memory, a panel for each data set.

Filled points are plans. Hollow ones are the memory that the paper measured, of the rows for which it gives one, with a
dotted line to the plan of the same row. The axis of memory is logarithmic, and its span is each panel's own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from side4video.reports.figures.labels import Box, Label, place_labels
from side4video.reports.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    label_axes,
    legend_below,
    new_figure,
    save_figure,
    style_axes,
)

PANELS = (
    ("table2", "Table 2: Something-Something V2, 8 frames", "top-1, %"),
    ("table4", "Table 4: Something-Something V2", "top-1, %"),
    ("table5", "Table 5: Kinetics-400", "top-1, %"),
    ("table6", "Tables 3 and 6: MSR-VTT", "text to video R@1, %"),
    ("table7", "Table 7: MSVD", "text to video R@1, %"),
    ("table8", "Table 8: VATEX", "text to video R@1, %"),
)
_SIDE4VIDEO, _FROZEN, _FULL = "Side4Video", "frozen image backbone", "full fine-tuning"
_COLOURS = {_SIDE4VIDEO: BLUE, _FROZEN: GREEN, _FULL: ORANGE}
_MARKERS = {_SIDE4VIDEO: "o", _FROZEN: "s", _FULL: "^"}
_HALF = 9.0
"""Half a marker's side, pixels."""


@dataclass(frozen=True)
class Point:
    """A row of a table."""

    label: str
    kind: str
    """Key of `_COLOURS`."""
    accuracy: float
    """Percent."""
    planned: float
    """GiB."""
    paper: float
    """GB as printed; 0 where the paper has none."""


def write_picture(record: Path, path: Path) -> Path:
    """Draw a record of `system_memory.py`; the ending of the path names the format. Returns the path."""
    return save_figure(draw(json.loads(record.read_text(encoding="utf-8"))), path)


def draw(record: Mapping[str, Any]) -> Figure:
    """The figure of a record."""
    figure = new_figure(10.0, 13.2)
    figure.set_layout_engine("constrained", h_pad=0.09, w_pad=0.09)
    panels = figure.subplots(3, 2).flat
    drawn = []
    for axes, (table, title, y_label) in zip(panels, PANELS, strict=True):
        points = points_of(record["rows"], table)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
        _draw_points(axes, points)
        label_axes(axes, x="memory of a training step, GiB (the paper: GB)", y=y_label)
        drawn.append((axes, points))
    legend_below(figure, *_legend(), columns=4, handletextpad=0.2, columnspacing=1.6)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # names are placed in pixels, so nothing may move any more
    for axes, points in drawn:
        _draw_labels(figure, axes, points)
    return figure


def points_of(rows: Sequence[Mapping[str, Any]], table: str) -> list[Point]:
    """The points of a panel. Rows of MSR-VTT have the memory that Table 3 gives for the same files."""
    memory = {row["file"]: row["paper_memory_gb"] for row in rows if row["table"] == "table3" and table == "table6"}
    return [
        Point(
            label=_label(row),
            kind=_kind(row),
            accuracy=row["paper_accuracy"],
            planned=row["planned_peak_gib"],
            paper=row.get("paper_memory_gb", memory.get(row["file"], 0.0)),
        )
        for row in rows
        if row["table"] == table
    ]


def _kind(row: Mapping[str, Any]) -> str:
    if row["method"].startswith(_SIDE4VIDEO):
        return _SIDE4VIDEO
    return _FULL if row["group"] == "Full fine-tuning" else _FROZEN


def _label(row: Mapping[str, Any]) -> str:
    """The method, and what tells its rows apart; of Side4Video, whose points have a colour of their own, that alone."""
    method = row["method"].removesuffix(" †").replace("CLIP4Clip, frozen tower", "CLIP4Clip, frozen")
    if row["table"] == "table2":
        return f"{method.removeprefix(_SIDE4VIDEO).lstrip(', ') or ''} {row['group'].removeprefix('ViT-')}".strip()
    if not method.startswith(_SIDE4VIDEO):
        return method
    name = row["details"][0].removeprefix("ViT-") if row["details"] else method.split()[1]
    return f"{name}, {row['frames']} frames" if row["details"] else name


def _draw_points(axes: Axes, points: Sequence[Point]) -> None:
    for point in points:
        colour, marker = _COLOURS[point.kind], _MARKERS[point.kind]
        axes.plot(point.planned, point.accuracy, marker, color=colour, markersize=6, zorder=4)
        if point.paper:
            ends = [point.planned, point.paper], [point.accuracy, point.accuracy]
            axes.plot(*ends, ":", color=colour, linewidth=1.0, alpha=0.7, zorder=2)
            for face, order in ((PAPER, 3), ("none", 5)):  # the ring stays to be seen where a plan lies over it
                style = {"color": colour, "markerfacecolor": face, "markersize": 6, "zorder": order}
                axes.plot(point.paper, point.accuracy, marker, **style)
    values = [value for point in points for value in (point.planned, point.paper) if value]
    left, right = min(values) / 1.6, max(values) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    ticks = [float(tick) for tick in LogLocator(subs=(1, 2, 5)).tick_values(left, right) if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.margins(y=0.12)
    style_axes(axes, grid="both")


def _draw_labels(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    occupied: list[Box] = []
    dotted: list[Box] = []
    for point in points:
        ends = [axes.transData.transform((x, point.accuracy)) for x in (point.planned, point.paper) if x]
        occupied += [(x - _HALF, y - _HALF, x + _HALF, y + _HALF) for x, y in ends]
        if len(ends) > 1:
            (x0, y0), (x1, _) = sorted(map(tuple, ends))
            dotted.append((x0, y0 - 2, x1, y0 + 2))
    labels = [
        Label(point.label, point.planned, point.accuracy, size=8, colour=_COLOURS[point.kind], is_needed=True)
        for point in points
    ]
    omitted = place_labels(axes, labels, figure=figure, occupied=occupied, excluded=dotted)
    if omitted:
        raise ValueError(f"no room for {', '.join(omitted)} in the panel {axes.get_title(loc='left')}")


def _legend() -> tuple[list[Artist], list[str]]:
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=_MARKERS[kind], linestyle="none") for kind, colour in _COLOURS.items()
    ]
    handles.append(Line2D([], [], color=INK, marker="o", markerfacecolor=PAPER, linestyle=":"))
    return handles, [*(f"{kind}, planned" for kind in _COLOURS), "the paper, measured"]

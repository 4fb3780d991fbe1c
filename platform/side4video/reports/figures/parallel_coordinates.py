"""Parallel coordinates: which settings of a sweep lead where."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from side4video.reports.arms import (
    METRIC,
    ArmResult,
    Mode,
    best_rows,
    counted_runs,
    distinct_arms,
    exact_text,
    is_complete,
    metric_spread,
    short_text,
    varying_fields,
)
from side4video.reports.figures.style import BLUE, INK, ORANGE, SOFT, TEXT, WIDTH, empty_figure, new_figure, shorten
from side4video.tasks.metrics import is_fraction, metric_title, printed_value

MAX_NAMED_NUMBERS = 12
"""So many numbers or fewer get a tick each, evenly spaced."""
_LOGARITHMIC_FROM = 30


@dataclass(frozen=True)
class Axis:
    """A field's axis; heights run from 0 at the bottom to 1 at the top."""

    name: str
    heights: tuple[float, ...]
    """Of each arm's value."""
    ticks: tuple[tuple[float, str], ...]
    is_named: bool
    """Whether every value has its own tick."""


def axis_of(name: str, values: Sequence[Any], *, max_length: int = 22) -> Axis:
    """An axis for these values, one of each arm; tick labels have lines of at most `max_length` characters.

    Numbers rise, `false` stands below `true`; other values run down in the order in which they first occur, above any
    numbers. Many distinct numbers stand on a scale instead: a logarithmic one if they span a factor of 30 and their
    median is nearer to its middle.
    """
    numbers = sorted({float(value) for value in values if _is_number(value)})
    others = list(dict.fromkeys(exact_text(value) for value in values if not _is_number(value)))
    if not others and len(numbers) > MAX_NAMED_NUMBERS:
        return _scaled(name, [float(value) for value in values])
    if set(others) <= {"false", "true"}:
        others = sorted(others, reverse=True)
    order = [*numbers, *reversed(others)]
    step = 1 / max(1, len(order) - 1)
    height = {value: index * step if len(order) > 1 else 0.5 for index, value in enumerate(order)}
    keys = [float(value) if _is_number(value) else exact_text(value) for value in values]
    shown = {key: short_text(value) for key, value in zip(keys, values, strict=True)}
    ticks = tuple((height[key], "\n".join(textwrap.wrap(shown[key], max_length)) or "''") for key in order)
    return Axis(name, tuple(height[key] for key in keys), ticks, is_named=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_even_in_ratio(low: float, middle: float, high: float) -> bool:
    """Whether the median is nearer to the middle of a logarithmic scale than to that of a linear one."""
    in_ratio, in_steps = math.log(middle / low) / math.log(high / low), (middle - low) / (high - low)
    return abs(in_ratio - 0.5) < abs(in_steps - 0.5)


def _scaled(name: str, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    is_logarithmic = low > 0 and high / low >= _LOGARITHMIC_FROM and _is_even_in_ratio(low, median(values), high)
    if is_logarithmic:
        decades = math.log10(high / low)
        locator = LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,))
    else:
        locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])

    def height(value: float) -> float:
        return math.log(value / low) / math.log(high / low) if is_logarithmic else (value - low) / (high - low)

    ticks = [float(each) for each in locator.tick_values(low, high) if low <= each <= high]
    return Axis(
        name,
        tuple(height(value) for value in values),
        tuple((height(each), f"{each:g}") for each in ticks),
        is_named=False,
    )


_BAND = 0.032
"""Half the height over which lines between the same two values are spread, as a share of the axis."""


def draw_parallel_coordinates(rows: Sequence[ArmResult], *, metric: str = METRIC, mode: Mode = "max") -> Figure:
    """One vertical axis for each swept field that varies, the metric last, a line for each arm's mean over seeds.

    Up to a dozen numbers stand evenly spaced in their order, as names and booleans do; more of them on a scale,
    logarithmic where they span much. Each line passes the ticks of its values; between two axes, lines that join the
    same two values are drawn beside each other in the order of the metric, so that none hides another. The last axis is
    the colour bar: blue is good. Arms that were stopped early are dashed.
    """
    arms = [row for row in distinct_arms(rows) if math.isfinite(metric_spread(row, metric).mean)]
    values = [printed_value(metric, metric_spread(row, metric).mean) for row in arms]
    if not arms:
        return empty_figure(f"no arm has a value of {metric_title(metric)}")
    fields = varying_fields(arms)
    max_length = 22 if len(fields) < 4 else 14
    axes = [axis_of(field, [row.swept.get(field) for row in arms], max_length=max_length) for field in fields]
    # Arms that differ in nothing that was swept differ in their names.
    axes = axes or [axis_of("arm", [row.label for row in arms])]
    max_lines = max(sum(text.count("\n") + 1 for _, text in axis.ticks) for axis in axes)
    figure = new_figure(max(WIDTH, 1.1 * (len(axes) + 1)), max(4.4, 1.3 + 0.21 * max_lines))
    titles = _axis_titles(figure, [axis.name for axis in axes], metric)
    host = _line_axes(figure, axes, titles=titles)
    norm = _norm(values)
    best = best_rows(arms, metric, mode=mode)
    _draw_lines(host, arms, axes, values, norm=norm, mode=mode, best=best)
    _draw_axes(host, axes)
    host.set_xticks(range(len(titles)), titles)
    for label in host.get_xticklabels():
        label.set_fontweight("bold")
    _draw_metric(figure, host, norm=norm, mode=mode)
    summary = _summary(arms, [arms[each].label for each in sorted(best)])
    figure.text(0.012, 1 - 0.1 / figure.get_figheight(), summary, va="top", fontsize=TEXT, color=INK)
    return figure


_MAX_BEST = 2
"""Of more equal arms, the number is said."""


def _summary(arms: Sequence[ArmResult], best: Sequence[str]) -> str:
    """What is drawn: how many arms, of how many seeds, which is bold and whether any is dashed."""
    seeds = {len(counted_runs(row)) for row in arms}
    text = f"{len(arms)} arm{'s' * (len(arms) > 1)}"
    text += f", means over {min(seeds)}{f' to {max(seeds)}' * (len(seeds) > 1)} seeds" if max(seeds) > 1 else ""
    if len(best) > _MAX_BEST:
        text += f" · bold: the {len(best)} best, which are equal"
    elif best:
        names = " and ".join(shorten(name, 48 // len(best)) for name in best)
        text += f" · bold: the best{', equal' * (len(best) > 1)}, {names}"
    return text + " · dashed: cut short" * any(not is_complete(row) for row in arms)


def _colour_map(mode: Mode) -> LinearSegmentedColormap:
    """From orange over grey to blue, which is good; each stands out from white and from dark paper."""
    colours = (ORANGE, "#8f8a84", BLUE)
    return LinearSegmentedColormap.from_list("sweep", colours if mode == "max" else colours[::-1])


def _norm(values: Sequence[float]) -> Normalize:
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.01 * abs(high) or 1.0
    return Normalize(low - margin, high + margin)


def _axis_titles(figure: Figure, names: Sequence[str], metric: str) -> list[str]:
    """The names of the axes, in lines that leave room for their neighbours; the metric last."""
    max_length = max(8, int(figure.get_figwidth() * 0.84 / len(names) / 0.085))
    wrapped = [textwrap.wrap(name.replace("_", " ").replace(".", " "), max_length) for name in names]
    last = f"{metric_title(metric)}{', %' * is_fraction(metric)}"
    return ["\n".join(lines) for lines in (*wrapped, textwrap.wrap(last, 12))]


def _line_axes(figure: Figure, axes: Sequence[Axis], *, titles: Sequence[str]) -> Axes:
    """The axes that hold the lines: x counts the vertical axes, y runs from 0 to 1."""
    longest = max((len(line) for _, text in axes[0].ticks for line in text.splitlines()), default=1)
    inches, high = figure.get_figwidth(), figure.get_figheight()
    left = min(0.35, max(0.25 + 0.068 * longest, 0.12 + 0.045 * len(titles[0].split("\n")[0])) / inches)
    right, bottom = 0.85 / inches, 0.2 / high
    top = (0.5 + 0.15 * max(heading.count("\n") + 1 for heading in titles)) / high
    host = figure.add_axes((left, bottom, 1 - left - right, 1 - bottom - top))
    host.set_xlim(0, len(axes))
    host.set_ylim(-0.04, 1.04)
    host.set_yticks([])
    host.xaxis.tick_top()
    host.tick_params(axis="x", length=0, pad=4, labelsize=TEXT, labelcolor=INK)
    host.spines[:].set_visible(False)
    return host


def _draw_lines(
    host: Axes,
    arms: Sequence[ArmResult],
    axes: Sequence[Axis],
    values: Sequence[float],
    *,
    norm: Normalize,
    mode: Mode,
    best: set[int],
) -> None:
    colours = _colour_map(mode)
    heights = [list(axis.heights) for axis in axes] + [[float(norm(value)) for value in values]]
    smooth = np.linspace(0, 1, 60)
    ease = smooth * smooth * (3 - 2 * smooth)
    apart = 1 - (2 * smooth - 1) ** 4
    shifts = [_shifts(list(zip(*ends, strict=True)), values) for ends in itertools.pairwise(heights)]
    crowded = len(arms) > 40
    worst_first = sorted(range(len(arms)), key=lambda each: values[each], reverse=mode == "min")
    for order, index in enumerate(worst_first):
        spots = [each[index] for each in heights]
        x = np.concatenate([at + smooth for at in range(len(spots) - 1)])
        y = np.concatenate(
            [a + (b - a) * ease + shifts[at][index] * apart for at, (a, b) in enumerate(itertools.pairwise(spots))]
        )
        is_best = index in best
        (line,) = host.plot(
            x,
            y,
            color=colours(float(norm(values[index]))),
            linewidth=(1.2 if crowded else 1.8) + 1.6 * is_best,
            alpha=1.0 if is_best else 0.6 if crowded else 0.85,
            linestyle="-" if is_complete(arms[index]) else (0, (4, 2)),
            zorder=2 + order / len(arms) + is_best,
            label=arms[index].label,
            solid_capstyle="butt",
            clip_on=False,
        )
        if is_best:
            line.set_path_effects([withStroke(linewidth=line.get_linewidth() + 2, foreground="white")])


def _shifts(ends: Sequence[tuple[float, float]], values: Sequence[float]) -> list[float]:
    """How far each line is moved half-way between two axes.

    Lines with the same `ends` are spread, in the order of the metric.
    """
    shifts = [0.0] * len(ends)
    for pair in set(ends):
        here = sorted((index for index, each in enumerate(ends) if each == pair), key=lambda index: values[index])
        for order, index in enumerate(here):
            shifts[index] = _BAND * (2 * order / (len(here) - 1) - 1) if len(here) > 1 else 0.0
    return shifts


def _draw_axes(host: Axes, axes: Sequence[Axis]) -> None:
    """Each field's axis, with its tick labels on the left."""
    bottom, top = host.get_ylim()
    for index, axis in enumerate(axes):
        own = host.twinx()
        own.set_ylim(bottom, top)
        own.spines[["left", "top", "bottom"]].set_visible(False)
        own.spines["right"].set_position(("data", index))
        own.spines["right"].set_bounds(0, 1)
        own.spines["right"].set_color(INK)
        own.set_yticks([height for height, _ in axis.ticks], [text for _, text in axis.ticks])
        own.tick_params(axis="y", direction="in", length=4, pad=-8, labelsize=8, labelcolor=INK, color=INK)
        for label in own.get_yticklabels():
            label.set_horizontalalignment("right")
            label.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _draw_metric(figure: Figure, host: Axes, *, norm: Normalize, mode: Mode) -> None:
    """The last axis: a colour bar on the scale of the metric, where the lines end."""
    box = host.get_position()
    low, high = host.get_ylim()
    share = box.height / (high - low)
    bar = figure.add_axes((box.x1, box.y0 - low * share, 0.16 / figure.get_figwidth(), share), zorder=5)
    figure.colorbar(ScalarMappable(norm, _colour_map(mode)), cax=bar, ticks=MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    bar.tick_params(axis="y", labelsize=8, labelcolor=INK, color=SOFT)
    bar.spines["outline"].set_visible(False)

"""Where the values of a swept field stand on a vertical axis."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from side4video.reports.rows import exact_text, short_text

MOST_NAMED_NUMBERS = 12
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


def axis_of(name: str, values: Sequence[Any], *, room: int = 22) -> Axis:
    """An axis for these values, one of each arm; tick labels have lines of at most `room` characters.

    Numbers rise, `false` stands below `true`; other values run down in the order in which they first occur, above any
    numbers. Many distinct numbers stand on a scale instead: a logarithmic one if they span a factor of 30 and their
    median is nearer to its middle.
    """
    numbers = sorted({float(value) for value in values if _is_number(value)})
    others = list(dict.fromkeys(exact_text(value) for value in values if not _is_number(value)))
    if not others and len(numbers) > MOST_NAMED_NUMBERS:
        return _scaled(name, [float(value) for value in values])
    if set(others) <= {"false", "true"}:
        others = sorted(others, reverse=True)
    order = [*numbers, *reversed(others)]
    step = 1 / max(1, len(order) - 1)
    height = {value: place * step if len(order) > 1 else 0.5 for place, value in enumerate(order)}
    keys = [float(value) if _is_number(value) else exact_text(value) for value in values]
    shown = {key: short_text(value) for key, value in zip(keys, values, strict=True)}
    ticks = tuple((height[key], "\n".join(textwrap.wrap(shown[key], room)) or "''") for key in order)
    return Axis(name, tuple(height[key] for key in keys), ticks, is_named=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_even_in_ratio(low: float, middle: float, high: float) -> bool:
    """Whether the median is nearer to the middle of a logarithmic scale than to that of a linear one."""
    in_ratio, in_steps = math.log(middle / low) / math.log(high / low), (middle - low) / (high - low)
    return abs(in_ratio - 0.5) < abs(in_steps - 0.5)


def _scaled(name: str, values: Sequence[float]) -> Axis:
    from matplotlib.ticker import LogLocator, MaxNLocator

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

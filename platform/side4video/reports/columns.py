"""The columns of the comparison as they are printed: percent, points, figures that people compare.

In Markdown all columns that hold anything; on a terminal and in a page those that tell the arms apart, in
several blocks if they are too wide for one.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from side4video.core.text import escape_markdown
from side4video.reports.arms import (
    MEASURED_MEMORY,
    ArmResult,
    Spread,
    any_run_mean,
    counted_runs,
    is_complete,
    short_text,
    state_text,
    varying_fields,
)
from side4video.reports.comparison import ALONE, TRAINED, ComparisonTable
from side4video.tasks.metrics import is_fraction, metric_title, printed_value

if TYPE_CHECKING:
    from side4video.terminal.tables import FittedTable

TERMINAL_WIDTH = 120
_PAGE_WIDTH, _PAGE_GAP = 165, 3
"""Letters that fit across a page of 1280 pixels, and those that the space between two columns takes."""
ARM = "arm"
VALUE = "value"
NAMES = ("table", ARM)
"""Columns that name a row."""


@dataclass(frozen=True)
class Column:
    """A printed column."""

    key: str
    heading: str
    unit: str
    """Printed below or after the heading; may be empty."""
    cells: tuple[str, ...]

    @property
    def title(self) -> str:
        """Heading and unit on one line."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    @property
    def is_number(self) -> bool:
        """Whether it is right-aligned. Swept fields are, if all values are numbers."""
        if self.key.startswith("swept/"):
            return all(re.fullmatch(r"[-+\d.e]+|none", cell) for cell in self.cells)
        return self.key not in {"table", ARM, "state"}

    @property
    def width(self) -> int:
        """Letters of the longest line."""
        return max(map(len, (self.heading, self.unit, *self.cells)))


def columns(table: ComparisonTable) -> list[Column]:
    """All columns with content, in order. Swept fields are columns only if they vary."""
    metric, arms = table.metric, table.arms
    percent, points = ("%", "points") if is_fraction(metric) else ("", "")
    best_unit = f"{metric_title(metric)}, %" if percent else metric_title(metric)
    scale, size = memory_unit(arms, table.memory)
    source = "measured" if table.memory == MEASURED_MEMORY else "planned"
    made = [
        Column("table", "table", "", tuple(arm.table for arm in arms)),
        Column(ARM, "arm", "", tuple(arm.label for arm in arms)),
        *_swept_columns(arms),
        Column(VALUE, metric_title(metric), percent, tuple(_spread(metric, arm.value) for arm in arms)),
        Column("difference", "Δ [95% CI]", points, tuple(_difference(metric, arm) for arm in arms)),
        Column("p", "p", "Holm", tuple(map(_p_value, arms))),
        Column("best", "best epoch", best_unit, tuple(_spread(metric, arm.best_epoch) for arm in arms)),
        Column("trained", "trained", "parameters", _figures(arms, TRAINED, "{:,.0f}")),
        Column("memory", "memory", f"{size}, {source}", _figures(arms, table.memory, scale=scale)),
        Column("alone", "step alone", "ms", _figures(arms, ALONE, scale=1000)),
        *_paper_columns(arms),
        Column("seeds", "seeds", "", tuple(map(_seeds, arms))),
        Column("state", "state", "", tuple(state_text(arm) for arm in arms)),
    ]
    return [each for each in made if any(each.cells)]


def _swept_columns(arms: Sequence[ArmResult]) -> list[Column]:
    names = varying_fields(arms)
    return [Column(f"swept/{name}", name, "", tuple(short_text(arm.swept.get(name)) for arm in arms)) for name in names]


def _paper_columns(arms: Sequence[ArmResult]) -> list[Column]:
    """The paper's values: fractions as percent, others as printed."""
    made = []
    for key in dict.fromkeys(key for arm in arms for key in arm.paper):
        in_gb = "GB" if key.endswith("_gb") else ""
        name, unit = (metric_title(key), "%") if is_fraction(key) else (metric_title(key.removesuffix("_gb")), in_gb)
        values = (printed_value(key, arm.paper.get(key, math.nan)) for arm in arms)
        made.append(
            Column(
                f"paper/{key}",
                f"paper {name}",
                unit,
                tuple(_figure(v, "{:.1f}") for v in values),
            )
        )
    return made


def memory_unit(arms: Sequence[ArmResult], key: str) -> tuple[float, str]:
    """The unit for the memory of these arms, and how many of it a GiB is: MiB if none reaches a GiB."""
    largest = max((any_run_mean(arm, key) for arm in arms if any_run_mean(arm, key) > 0), default=1.0)
    return (1.0, "GiB") if largest >= 1 else (1024.0, "MiB")


def _figures(arms: Sequence[ArmResult], key: str, form: str = "", *, scale: float = 1.0) -> tuple[str, ...]:
    """The values; without a form all with the same decimals, so that the smallest keeps three digits."""
    values = [scale * any_run_mean(arm, key) for arm in arms]
    if not form:
        smallest = min((abs(value) for value in values if math.isfinite(value) and value), default=1.0)
        form = f"{{:,.{min(3, max(0, 2 - math.floor(math.log10(smallest))))}f}}"
    return tuple(_figure(value, form) for value in values)


def _figure(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else ""


def _spread(metric: str, value: Spread) -> str:
    of_mean, of_deviation = ("{:.1f}", "{:.1f}") if is_fraction(metric) else ("{:.4g}", "{:.2g}")
    mean = _figure(printed_value(metric, value.mean), of_mean)
    deviation = _figure(printed_value(metric, value.deviation), of_deviation)
    return f"{mean} ± {deviation}" if deviation else mean


def _difference(metric: str, arm: ArmResult) -> str:
    if arm.is_reference_here:
        return "reference"
    form = "{:+.1f}" if is_fraction(metric) else "{:+.3g}"
    text = _figure(printed_value(metric, arm.difference), form)
    if arm.comparison is None:
        return text
    low, high = (_figure(printed_value(metric, end), form) for end in (arm.comparison.low, arm.comparison.high))
    return f"{text} [{low}, {high}]"


def _p_value(arm: ArmResult) -> str:
    if arm.comparison is None:
        return ""
    p = arm.comparison.p_adjusted
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _seeds(arm: ArmResult) -> str:
    """Number of counted seeds, `N of M` if some do not count."""
    counted, all_runs = len(counted_runs(arm)), len(arm.runs)
    return str(counted) if counted == all_runs else f"{counted} of {all_runs}"


# ---- Markdown


def as_markdown(table: ComparisonTable) -> str:
    """A Markdown table. The best value of each group is bold; values of incomplete arms are italic."""
    if not table.arms:
        return "No arms.\n"
    shown = columns(table)
    head = [escape_markdown(each.title) for each in shown]
    rules = ["---:" if each.is_number else "---" for each in shown]
    body = []
    for number, arm in enumerate(table.arms):
        mark = "**" if arm.is_best else "" if is_complete(arm) else "*"
        cells = [escape_markdown(each.cells[number]) for each in shown]
        body.append(
            [
                f"{mark}{cell}{mark}" if cell and each.key == VALUE else cell
                for each, cell in zip(shown, cells, strict=True)
            ]
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rules, *body))


# ---- a terminal


def as_rich(table: ComparisonTable, *, width: int = TERMINAL_WIDTH) -> "FittedTable":
    """A table for a terminal, at most `width` cells wide, with all columns.

    Columns with one value in all rows go to the caption. If the others are still too wide, they are printed in several
    blocks, each with the names of the arms.
    """
    from side4video.terminal.tables import GAP, FittedTable, TextColumn

    shown, constant = split_constant(columns(table))
    settings = [each for each in shown if each.key.startswith("swept/")]
    if settings and sum(each.width + GAP for each in shown) > width:
        # Results first, if there are several blocks.
        shown = [*(each for each in shown if each not in settings), *settings]
    return FittedTable(
        tuple(
            TextColumn(
                "\n".join(part for part in (each.heading, each.unit) if part),
                each.cells,
                is_number=each.is_number,
                is_key=each.key in NAMES,
            )
            for each in shown
        ),
        caption=constant_text(constant),
        styles={
            number: "bold" if arm.is_best else "dim"
            for number, arm in enumerate(table.arms)
            if arm.is_best or not is_complete(arm)
        },
        max_width=width,
    )


def split_constant(shown: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Columns that vary, and constant ones. The arm and the metric always stay; a single row keeps all columns."""
    visible: list[Column] = []
    constant: list[Column] = []
    for each in shown:
        is_constant = len(each.cells) > 1 and len(set(each.cells)) == 1 and each.key not in {ARM, VALUE}
        (constant if is_constant else visible).append(each)
    return visible, constant


def constant_text(constant: Sequence[Column]) -> str:
    """What is the same in all rows; empty if nothing is."""
    return f"In all rows: {', '.join(f'{each.title} {each.cells[0]}' for each in constant)}." if constant else ""


def split_settings(shown: Sequence[Column]) -> list[list[Column]]:
    """The columns of each table of a page: one table if it is narrow enough, else results and settings apart."""
    settings = [each for each in shown if each.key.startswith("swept/")]
    if not settings or sum(each.width + _PAGE_GAP for each in shown) <= _PAGE_WIDTH:
        return [list(shown)]
    names = [each for each in shown if each.key in NAMES]
    return [[each for each in shown if each not in settings], [*names, *settings]]

"""The columns of the comparison as they are printed: percent, points, figures that people compare.

In Markdown all columns that hold anything; on a terminal those that tell the arms apart, as many as fit.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from rich.table import Table

TERMINAL_WIDTH = 120
_GAP = 2
_ALWAYS = 0
"""Rank of columns that are never dropped."""
ARM = "arm"
VALUE = "value"


@dataclass(frozen=True)
class Column:
    """A printed column."""

    key: str
    heading: str
    unit: str
    """Printed below or after the heading; may be empty."""
    cells: tuple[str, ...]
    rank: int = _ALWAYS
    """If the width is too small, columns of the highest rank are dropped first."""

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
        """Width in terminal cells."""
        from rich.cells import cell_len

        return max(cell_len(text) for text in (self.heading, self.unit, *self.cells))


def columns(table: ComparisonTable) -> list[Column]:
    """All columns with content, in order. Swept fields are columns only if they vary."""
    metric, arms = table.metric, table.arms
    percent, points = ("%", "points") if is_fraction(metric) else ("", "")
    source = "measured" if table.memory == MEASURED_MEMORY else "planned"
    made = [
        Column("table", "table", "", tuple(arm.table for arm in arms)),
        Column(ARM, "arm", "", tuple(arm.label for arm in arms)),
        *_swept_columns(arms),
        Column(VALUE, metric_title(metric), percent, tuple(_spread(metric, arm.value) for arm in arms)),
        Column("difference", "Δ [95% CI]", points, tuple(_difference(metric, arm) for arm in arms)),
        Column("p", "p", "Holm", tuple(map(_p_value, arms))),
        Column("best", "best epoch", percent, tuple(_spread(metric, arm.best_epoch) for arm in arms), rank=7),
        Column("trained", "trained", "", _figures(arms, TRAINED, "{:,.0f}"), rank=3),
        Column("memory", "memory", f"GiB, {source}", tuple(_gib(arm, table.memory) for arm in arms), rank=2),
        Column("alone", "step alone", "ms", _figures(arms, ALONE, "{:,.0f}", times=1000), rank=8),
        *_paper_columns(arms),
        Column("seeds", "seeds", "", tuple(map(_seeds, arms)), rank=3),
        Column("state", "state", "", tuple(state_text(arm) for arm in arms)),
    ]
    return [each for each in made if any(each.cells)]


def _swept_columns(arms: Sequence[ArmResult]) -> list[Column]:
    names = varying_fields(arms)
    labels = [(arm.table, arm.label) for arm in arms]
    # If labels alone identify the arms, the fields may be dropped early.
    rank = 6 if len(set(labels)) == len(labels) else 1
    return [
        Column(f"swept/{name}", name, "", tuple(short_text(arm.swept.get(name)) for arm in arms), rank=rank)
        for name in names
    ]


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
                rank=5 if in_gb else 4,
            )
        )
    return made


def _figures(arms: Sequence[ArmResult], key: str, form: str, *, times: float = 1.0) -> tuple[str, ...]:
    return tuple(_figure(times * any_run_mean(arm, key), form) for arm in arms)


def _figure(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else ""


def _gib(arm: ArmResult, key: str) -> str:
    value = any_run_mean(arm, key)
    return _figure(value, "{:.1f}" if value >= 10 else "{:.2f}" if value >= 0.1 else "{:.4f}")


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


def escape_markdown(text: str) -> str:
    """Text escaped for one cell of a Markdown table."""
    return re.sub(r"([\\|*`<&]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", " ".join(text.split()))


# ---- a terminal


def as_rich(table: ComparisonTable, *, width: int = TERMINAL_WIDTH) -> "Table":
    """A table for a terminal, within `width` cells.

    Columns with one value in all rows go to the caption. If the table is still too wide, columns are dropped by rank
    and named in the caption; finally labels are cut.
    """
    from rich.table import Table
    from rich.text import Text

    shown, constant = _split_constant(columns(table))
    shown, dropped = _fit(shown, width)
    said = [f"in all rows: {', '.join(f'{each.title} {each.cells[0]}' for each in constant)}"] if constant else []
    said += [f"left out: {', '.join(each.title for each in dropped)}"] if dropped else []
    made = Table(
        box=None,
        header_style="bold",
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
        caption=Text(" · ".join(said), style="dim") if said else None,
        caption_justify="left",
    )
    for each, cells in zip(shown, _widths(shown, width), strict=True):
        heading = Text("\n".join(part for part in (each.heading, each.unit) if part))
        justify = "right" if each.is_number else "left"
        made.add_column(heading, justify=justify, no_wrap=True, width=cells, overflow="ellipsis")
    for number, arm in enumerate(table.arms):
        style = "bold" if arm.is_best else "" if is_complete(arm) else "dim"
        made.add_row(*(Text(each.cells[number], style=style) for each in shown))
    return made


def _split_constant(shown: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Columns that vary, and constant ones. The arm and the metric always stay; a single row keeps all columns."""
    visible: list[Column] = []
    constant: list[Column] = []
    for each in shown:
        is_constant = len(each.cells) > 1 and len(set(each.cells)) == 1 and each.key not in {ARM, VALUE}
        (constant if is_constant else visible).append(each)
    return visible, constant


def _fit(shown: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit, and the dropped ones; all columns of a rank are dropped together."""
    visible, dropped = list(shown), []
    while visible and sum(each.width + _GAP for each in visible) > width:
        rank = max(each.rank for each in visible)
        if rank == _ALWAYS:
            break
        dropped += [each for each in visible if each.rank == rank]
        visible = [each for each in visible if each.rank != rank]
    return visible, dropped


def _widths(shown: Sequence[Column], width: int) -> list[int]:
    """The width of each column; the arm column gets the remaining width."""
    others = sum(each.width + _GAP for each in shown if each.key != ARM) + _GAP
    return [min(each.width, max(8, width - others)) if each.key == ARM else each.width for each in shown]

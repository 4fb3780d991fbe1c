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
    Spread,
    any_run_mean,
    counted_runs,
    is_complete,
    is_fraction,
    metric_title,
    printed_value,
    short_text,
    state_text,
    varying_fields,
)
from side4video.reports.comparison import ALONE, TRAINED, ComparisonTable, Line

if TYPE_CHECKING:
    from rich.table import Table

TERMINAL_WIDTH = 120
_GAP = 2
_ALWAYS = 0
"""The rank of columns that are never dropped."""
ARM = "arm"
VALUE = "value"


@dataclass(frozen=True)
class Column:
    """A printed column."""

    key: str
    heading: str
    unit: str
    """Below or behind the heading; may be empty."""
    cells: tuple[str, ...]
    rank: int = _ALWAYS
    """Where the width is short, the highest goes first."""

    @property
    def title(self) -> str:
        """Heading and unit on one line."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    @property
    def is_number(self) -> bool:
        """Numbers stand on the right; of the swept values only those that are."""
        if self.key.startswith("swept/"):
            return all(re.fullmatch(r"[-+\d.e]+|none", cell) for cell in self.cells)
        return self.key not in {"table", ARM, "state"}

    @property
    def width(self) -> int:
        """In cells of a terminal."""
        from rich.cells import cell_len

        return max(cell_len(text) for text in (self.heading, self.unit, *self.cells))


def columns(table: ComparisonTable) -> list[Column]:
    """All columns that hold anything, in order. Swept fields only where they vary."""
    metric, lines = table.metric, table.lines
    percent, points = ("%", "points") if is_fraction(metric) else ("", "")
    source = "measured" if table.memory == MEASURED_MEMORY else "planned"
    made = [
        Column("table", "table", "", tuple(line.row.table for line in lines)),
        Column(ARM, "arm", "", tuple(line.row.label for line in lines)),
        *_swept_columns(lines),
        Column(VALUE, metric_title(metric), percent, tuple(_spread(metric, line.value) for line in lines)),
        Column("difference", "Δ [95% CI]", points, tuple(_difference(metric, line) for line in lines)),
        Column("p", "p", "Holm", tuple(map(_p_value, lines))),
        Column("best", "best epoch", percent, tuple(_spread(metric, line.best_epoch) for line in lines), rank=7),
        Column("trained", "trained", "", _figures(lines, TRAINED, "{:,.0f}"), rank=3),
        Column("memory", "memory", f"GiB, {source}", tuple(_gib(line, table.memory) for line in lines), rank=2),
        Column("alone", "step alone", "ms", _figures(lines, ALONE, "{:,.0f}", times=1000), rank=8),
        *_paper_columns(lines),
        Column("seeds", "seeds", "", tuple(map(_seeds, lines)), rank=3),
        Column("state", "state", "", tuple(state_text(line.row) for line in lines)),
    ]
    return [each for each in made if any(each.cells)]


def _swept_columns(lines: Sequence[Line]) -> list[Column]:
    names = varying_fields([line.row for line in lines])
    arms = [(line.row.table, line.row.label) for line in lines]
    # Where the labels alone tell the arms apart, the fields can go.
    rank = 6 if len(set(arms)) == len(arms) else 1
    return [
        Column(f"swept/{name}", name, "", tuple(short_text(line.row.swept.get(name)) for line in lines), rank=rank)
        for name in names
    ]


def _paper_columns(lines: Sequence[Line]) -> list[Column]:
    """The paper's figures: fractions as percent, the rest as they are printed there."""
    made = []
    for key in dict.fromkeys(key for line in lines for key in line.row.paper):
        in_gb = "GB" if key.endswith("_gb") else ""
        name, unit = (metric_title(key), "%") if is_fraction(key) else (metric_title(key.removesuffix("_gb")), in_gb)
        values = (printed_value(key, line.row.paper.get(key, math.nan)) for line in lines)
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


def _figures(lines: Sequence[Line], key: str, form: str, *, times: float = 1.0) -> tuple[str, ...]:
    return tuple(_figure(times * any_run_mean(line.row, key), form) for line in lines)


def _figure(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else ""


def _gib(line: Line, key: str) -> str:
    value = any_run_mean(line.row, key)
    return _figure(value, "{:.1f}" if value >= 10 else "{:.2f}" if value >= 0.1 else "{:.4f}")


def _spread(metric: str, value: Spread) -> str:
    of_mean, of_deviation = ("{:.1f}", "{:.1f}") if is_fraction(metric) else ("{:.4g}", "{:.2g}")
    mean = _figure(printed_value(metric, value.mean), of_mean)
    deviation = _figure(printed_value(metric, value.deviation), of_deviation)
    return f"{mean} ± {deviation}" if deviation else mean


def _difference(metric: str, line: Line) -> str:
    if line.is_reference:
        return "reference"
    form = "{:+.1f}" if is_fraction(metric) else "{:+.3g}"
    text = _figure(printed_value(metric, line.difference), form)
    if line.comparison is None:
        return text
    low, high = (_figure(printed_value(metric, end), form) for end in (line.comparison.low, line.comparison.high))
    return f"{text} [{low}, {high}]"


def _p_value(line: Line) -> str:
    if line.comparison is None:
        return ""
    p = line.comparison.p_adjusted
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _seeds(line: Line) -> str:
    """How many seeds the mean is of, and of how many if some do not count."""
    counted, all_runs = len(counted_runs(line.row)), len(line.row.runs)
    return str(counted) if counted == all_runs else f"{counted} of {all_runs}"


# ---- Markdown


def as_markdown(table: ComparisonTable) -> str:
    """A Markdown table; the best of each group is bold, the value of an arm that is not complete in italics."""
    if not table.lines:
        return "No arms.\n"
    shown = columns(table)
    head = [escape_markdown(each.title) for each in shown]
    rules = ["---:" if each.is_number else "---" for each in shown]
    body = []
    for number, line in enumerate(table.lines):
        mark = "**" if line.is_best else "" if is_complete(line.row) else "*"
        cells = [escape_markdown(each.cells[number]) for each in shown]
        body.append(
            [
                f"{mark}{cell}{mark}" if cell and each.key == VALUE else cell
                for each, cell in zip(shown, cells, strict=True)
            ]
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rules, *body))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line and in one cell."""
    return re.sub(r"([\\|*`<&]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", " ".join(text.split()))


# ---- a terminal


def as_rich(table: ComparisonTable, *, width: int = TERMINAL_WIDTH) -> "Table":
    """A table for a terminal, within `width` cells.

    A column with one value in all rows goes to the caption. If the rest is still too wide, columns are left out in
    the order of their rank, and the caption names them; at last the labels are cut.
    """
    from rich.table import Table
    from rich.text import Text

    shown, constant = _split_constant(columns(table))
    shown, left_out = _fit(shown, width)
    said = [f"in all rows: {', '.join(f'{each.title} {each.cells[0]}' for each in constant)}"] if constant else []
    said += [f"left out: {', '.join(each.title for each in left_out)}"] if left_out else []
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
    for number, line in enumerate(table.lines):
        style = "bold" if line.is_best else "" if is_complete(line.row) else "dim"
        made.add_row(*(Text(each.cells[number], style=style) for each in shown))
    return made


def _split_constant(shown: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Columns that tell rows apart, and the others; the arm and the metric stay, and one row keeps all."""
    kept: list[Column] = []
    constant: list[Column] = []
    for each in shown:
        is_constant = len(each.cells) > 1 and len(set(each.cells)) == 1 and each.key not in {ARM, VALUE}
        (constant if is_constant else kept).append(each)
    return kept, constant


def _fit(shown: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit, and those left out, all of a rank at once."""
    kept, left_out = list(shown), []
    while kept and sum(each.width + _GAP for each in kept) > width:
        rank = max(each.rank for each in kept)
        if rank == _ALWAYS:
            break
        left_out += [each for each in kept if each.rank == rank]
        kept = [each for each in kept if each.rank != rank]
    return kept, left_out


def _widths(shown: Sequence[Column], width: int) -> list[int]:
    """Each column's own width; the arm's is cut to what is left."""
    others = sum(each.width + _GAP for each in shown if each.key != ARM) + _GAP
    return [min(each.width, max(8, width - others)) if each.key == ARM else each.width for each in shown]

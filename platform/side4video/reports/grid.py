"""A table of text cells, written as Markdown, LaTeX, CSV, HTML or for a terminal."""

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from side4video.core.csv_cells import text_cell
from side4video.core.text import escape_markdown, printable

if TYPE_CHECKING:
    from side4video.terminal.tables import FittedTable

PLANNED = "ᵖ"
"""Behind a value that was planned, not measured."""


@dataclass(frozen=True)
class GridColumn:
    """A column."""

    heading: str
    unit: str = ""
    """Printed below or after the heading."""
    is_number: bool = True
    group: str = ""
    """A heading above adjacent columns of the same group."""

    @property
    def title(self) -> str:
        """The complete heading on one line."""
        name = " ".join(part for part in (self.group, self.heading) if part)
        return f"{name} ({self.unit})" if self.unit else name


@dataclass(frozen=True)
class GridRow:
    """A row."""

    cells: tuple[str, ...]
    group: str = ""
    """The heading above the row."""
    is_own: bool = False
    """Whether it has our results; such rows are bold."""


@dataclass(frozen=True)
class Grid:
    """A table with its notes."""

    title: str
    columns: tuple[GridColumn, ...]
    rows: tuple[GridRow, ...]
    notes: tuple[str, ...] = ()
    """How values are measured, and what is missing."""
    legend: tuple[str, ...] = ()
    """What words in its cells mean."""

    @property
    def below(self) -> tuple[str, ...]:
        """All sentences below the table."""
        return (*self.notes, *self.legend)

    def groups(self) -> list[tuple[str, list[GridRow]]]:
        """Adjacent rows of the same group, in order."""
        return [(name, list(rows)) for name, rows in groupby(self.rows, key=lambda row: row.group)]


def grid_markdown(grid: Grid) -> str:
    """Title, table and notes. Group headings are italic rows; our rows are bold."""
    head = [escape_markdown(column.title) for column in grid.columns]
    rules = ["---:" if column.is_number else "---" for column in grid.columns]
    body = []
    for name, rows in grid.groups():
        if name:
            body.append([f"*{escape_markdown(name)}*", *[""] * (len(head) - 1)])
        for row in rows:
            first, *rest = (escape_markdown(cell) for cell in row.cells)
            body.append([f"**{first}**" if row.is_own else first, *rest])
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rules, *body))
    notes = "".join(f"- {escape_markdown(note)}\n" for note in grid.below)
    return f"# {escape_markdown(grid.title)}\n\n{table}\n{notes}"


def grid_csv(grid: Grid) -> str:
    """The cells as CSV; the first column is the group."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", *(column.title for column in grid.columns)])
    for row in grid.rows:
        cells = zip(grid.columns, row.cells, strict=True)
        writer.writerow([text_cell(row.group), *(cell if of.is_number else text_cell(cell) for of, cell in cells)])
    return text.getvalue()


_MISSING = frozenset({"", "–", "not run"})


def grid_values(grid: Grid) -> list[dict[str, Any]]:
    """The rows for JSON: the group and each column by its title.

    Cells of number columns are numbers: of `mean ± deviation` the mean, with the deviation under `TITLE ±`; null if
    there is none. A value that was planned instead of measured is named under `planned`.
    """
    rows = []
    for row in grid.rows:
        values: dict[str, Any] = {"group": row.group}
        planned = []
        for column, cell in zip(grid.columns, row.cells, strict=True):
            if not column.is_number:
                values[column.title] = cell
                continue
            text = cell.rstrip(PLANNED)
            planned += [column.title] if text != cell else []
            mean, _, deviation = text.partition(" ± ")
            values[column.title] = None if mean in _MISSING else float(mean)
            if deviation:
                values[f"{column.title} ±"] = float(deviation)
        rows.append({**values, **({"planned": planned} if planned else {})})
    return rows


def grid_latex(grid: Grid) -> str:
    r"""A LaTeX `table` (package booktabs) with notes below, for `\input`."""
    kinds = "".join("r" if column.is_number else "l" for column in grid.columns)
    above, rules, place = [], [], 1
    for name, columns in groupby(grid.columns, key=lambda column: column.group):
        width = len(list(columns))
        above.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}" if name else "&".join([""] * width))
        if name:
            rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
        place += width
    headings = [
        escape_latex(f"{column.heading} ({column.unit})" if column.unit else column.heading) for column in grid.columns
    ]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(grid.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    if rules:
        lines += [" & ".join(above) + r" \\", " ".join(rules)]
    lines += [" & ".join(headings) + r" \\"]
    for name, rows in grid.groups():
        lines.append(r"\midrule")
        if name:
            lines.append(rf"\multicolumn{{{len(kinds)}}}{{l}}{{\emph{{{escape_latex(name)}}}}} \\")
        for row in rows:
            cells = [escape_latex(cell) for cell in row.cells]
            cells[0] = rf"\textbf{{{cells[0]}}}" if row.is_own else cells[0]
            lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape_latex(note)}" for note in grid.below]
    return "\n".join([*lines, r"\end{table}", ""])


_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "†": r"\dag{}",
    "ᵖ": r"\textsuperscript{p}",
    "−": r"$-$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape_latex(text: str) -> str:
    """Text escaped for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in printable(" ".join(text.split())))


def grid_html(grid: Grid) -> str:
    """The HTML table, with a body for each group; the page is `templates/table.html.j2`."""
    head = "".join(_heading(column) for column in grid.columns)
    above = "".join(
        f"<th colspan='{len(list(columns))}'>{_escaped(name)}</th>"
        for name, columns in groupby(grid.columns, key=lambda column: column.group)
    )
    has_groups = any(column.group for column in grid.columns)
    bodies = []
    for name, rows in grid.groups():
        title = f"<tr><th colspan='{len(grid.columns)}'>{_escaped(name)}</th></tr>\n" if name else ""
        bodies.append(f"<tbody>\n{title}{''.join(_html_row(grid, row) for row in rows)}</tbody>\n")
    first = f"<tr>{above}</tr>" if has_groups else ""
    notes = "".join(f"<li>{_escaped(note)}</li>\n" for note in grid.below)
    table = f"<table>\n<thead>{first}<tr>{head}</tr></thead>\n{''.join(bodies)}</table>"
    return f"<div class='wide' tabindex='0'>\n{table}\n</div>\n<ul class='notes'>\n{notes}</ul>\n"


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _heading(column: GridColumn) -> str:
    side = " class='number'" if column.is_number else ""
    unit = f"<small>{_escaped(column.unit)}</small>" if column.unit else ""
    return f"<th{side}>{_escaped(column.heading)}{unit}</th>"


def _html_row(grid: Grid, row: GridRow) -> str:
    cells = []
    for place, (column, cell) in enumerate(zip(grid.columns, row.cells, strict=True)):
        side = " class='number'" if column.is_number else ""
        text = f"<strong>{_escaped(cell)}</strong>" if row.is_own and place == 0 else _escaped(cell)
        cells.append(f"<td{side}>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>\n"


def grid_rich(grid: Grid) -> "FittedTable":
    """A table for a terminal. The columns of a group are one column: `paper → ours (Δ)`, or the paper's value."""
    from side4video.terminal.tables import FittedTable, TextColumn

    rows: list[tuple[Sequence[str], str]] = []
    for name, of_group in grid.groups():
        if name:
            rows.append(([name], "italic"))
        rows += [(row.cells, "bold" if row.is_own else "") for row in of_group]
    columns = []
    for first, last in _spans(grid.columns):
        column = grid.columns[first]
        heading = column.group if last > first + 1 else column.heading
        lines = filter(None, [*heading.split(), column.unit and f"({column.unit})"])
        cells = tuple(_joined_cells(cells[first:last]) for cells, _ in rows)
        columns.append(TextColumn("\n".join(lines), cells, is_number=column.is_number, is_key=not first))
    styles = {number: style for number, (_, style) in enumerate(rows) if style}
    return FittedTable(tuple(columns), title=grid.title, styles=styles)


def _spans(columns: Sequence[GridColumn]) -> list[tuple[int, int]]:
    """Start and end index of each group of columns."""
    spans: list[tuple[int, int]] = []
    for place, column in enumerate(columns):
        if column.group and spans and columns[spans[-1][0]].group == column.group:
            spans[-1] = (spans[-1][0], place + 1)
        else:
            spans.append((place, place + 1))
    return spans


def _joined_cells(cells: Sequence[str]) -> str:
    if len(cells) < 3:
        return " ".join(filter(None, cells))
    paper, ours, difference = cells
    return f"{paper} → {ours} ({difference})" if difference else paper

"""Writes a comparison of arms, or a table of a paper, as Markdown, CSV, LaTeX and HTML.

A page needs nothing beside it: figures are inside, there is no script and no address of another machine.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from side4video.core.files import write_together
from side4video.core.text import escape_markdown
from side4video.reports.arms import METRIC, ArmResult, Mode, is_complete
from side4video.reports.columns import (
    NAMES,
    VALUE,
    as_markdown,
    columns,
    constant_text,
    split_constant,
    split_settings,
)
from side4video.reports.comparison import ComparisonTable, as_csv, compare_rows, explanation
from side4video.reports.grid import Grid, GridColumn, GridRow, grid_csv, grid_html, grid_latex, grid_markdown
from side4video.reports.render import render
from side4video.tasks.metrics import metric_title

if TYPE_CHECKING:
    from side4video.reports.figures.figure import ReportFigure

COORDINATES = "parallel-coordinates.png"
PARETO = "pareto.png"


def write_report(
    folder: Path,
    rows: Sequence[ArmResult],
    *,
    title: str,
    metric: str = METRIC,
    mode: Mode = "max",
    notes: Sequence[str] = (),
    figures: "Sequence[ReportFigure]" = (),
    source: str = "",
) -> list[Path]:
    """Write the report of these arms; what is there of the same name is replaced, all files or none.

    Rows are in the order of the table; `notes` are sentences above it; `figures` are further ones, for the page;
    `source` says what the figures of the table are of.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.html`, `parallel-coordinates.png`, `pareto.png`.

    Raises:
        InputError: The disk is full or cannot be written.
    """
    table = compare_rows(rows, metric=metric, mode=mode)
    return write_together(folder, _report_files(rows, table, title=title, notes=notes, figures=figures, source=source))


def _report_files(
    rows: Sequence[ArmResult],
    table: ComparisonTable,
    *,
    title: str,
    notes: Sequence[str],
    figures: "Sequence[ReportFigure]",
    source: str,
) -> dict[str, str | bytes]:
    # Matplotlib takes most of a second to load; whoever imports this module may never draw.
    from side4video.reports.figures.style import figure_bytes
    from side4video.reports.figures.sweep import coordinates_figure, pareto_figure

    draws = (coordinates_figure, pareto_figure)
    first = [replace(draw(rows, metric=table.metric, mode=table.mode), source=source) for draw in draws]
    pictures = {
        name: figure_bytes(each.figure, "png", below=source)
        for each, name in zip(first, (COORDINATES, PARETO), strict=True)
    }
    return {
        "comparison.md": markdown_page(table, title=title, notes=notes),
        "comparison.csv": as_csv(table),
        "comparison.html": html_page(table, title=title, notes=notes, figures=(*first, *figures)),
        **pictures,
    }


def markdown_page(table: ComparisonTable, *, title: str, notes: Sequence[str]) -> str:
    """The Markdown file: title, notes, table, what it means, figures."""
    parts = [f"# {escape_markdown(title)}", *map(escape_markdown, notes), as_markdown(table).rstrip("\n")]
    parts += ["\n".join(f"- {escape_markdown(sentence)}" for sentence in explanation(table))]
    parts += [f"![Swept parameters]({COORDINATES})", f"![Peak memory and {metric_title(table.metric)}]({PARETO})"]
    return "\n\n".join(parts) + "\n"


def html_page(
    table: ComparisonTable, *, title: str, notes: Sequence[str], figures: "Sequence[ReportFigure]" = ()
) -> str:
    """The HTML page: notes, the results with a body for each part of the sweep, the settings of the arms, figures.

    If results and settings are narrow enough, they are one table. What is the same in all rows is said below.
    """
    from side4video.reports.figures.figure import figure_html

    shown, constant = split_constant(columns(table))
    return render(
        "comparison.html.j2",
        title=title,
        notes=notes,
        tables=split_settings(shown),
        constant=constant_text(constant),
        names=NAMES,
        groups=[list(group) for _, group in groupby(enumerate(table.arms), key=lambda item: item[1].table)],
        is_complete=is_complete,
        main_column=VALUE,
        explanation=explanation(table),
        figures=map(figure_html, figures),
    )


def write_grid(folder: Path, name: str, grid: Grid, *, figures: "Sequence[ReportFigure]" = ()) -> list[Path]:
    """Write a table as `NAME.md`, `.csv`, `.tex` and a self-contained `.html`.

    The folder is created if it is missing; `figures` are for the HTML page. All files are replaced, or none.
    """
    drawings = []
    if figures:
        from side4video.reports.figures.figure import figure_html

        drawings = [figure_html(figure) for figure in figures]
    table = Markup(grid_html(grid))  # noqa: S704 - its cells are escaped
    contents = {
        f"{name}.md": grid_markdown(grid),
        f"{name}.csv": grid_csv(grid),
        f"{name}.tex": grid_latex(grid),
        f"{name}.html": render("table.html.j2", title=grid.title, table=table, figures=drawings),
    }
    return write_together(folder, contents)


def write_comparison(
    folder: Path,
    rows: Sequence[ArmResult],
    *,
    title: str,
    metric: str,
    mode: Mode,
    notes: Sequence[str],
    figures: "Sequence[ReportFigure]" = (),
    source: str = "",
) -> list[Path]:
    """Write a comparison of arms: the files of `write_report`, and a LaTeX table."""
    table = compare_rows(rows, metric=metric, mode=mode)
    contents = _report_files(rows, table, title=title, notes=notes, figures=figures, source=source)
    contents["comparison.tex"] = grid_latex(as_grid(table, title=title, notes=notes))
    return write_together(folder, contents)


def as_grid(table: ComparisonTable, *, title: str, notes: Sequence[str]) -> Grid:
    """A comparison as a grid; the best row of each part is marked."""
    shown = [each for each in columns(table) if each.key != "table"]
    rows = [
        GridRow(cells=tuple(each.cells[number] for each in shown), group=arm.table, is_own=arm.is_best)
        for number, arm in enumerate(table.arms)
    ]
    made = tuple(GridColumn(each.heading, each.unit, each.is_number) for each in shown)
    assert any(each.key == VALUE for each in shown) or not rows  # noqa: S101 - the metric is never left out
    return Grid(title, made, tuple(rows), (*notes, *explanation(table)))

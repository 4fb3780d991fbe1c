"""Writes a comparison of arms, or a table of a paper, as Markdown, CSV, LaTeX and HTML."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from side4video.reports.arms import ArmResult, Mode
from side4video.reports.columns import VALUE, columns
from side4video.reports.comparison import ComparisonTable, compare_rows, explanation
from side4video.reports.grid import Grid, GridColumn, GridRow, grid_csv, grid_html, grid_latex, grid_markdown
from side4video.reports.page import write_report
from side4video.reports.render import render

if TYPE_CHECKING:
    from side4video.reports.figures.figure import ReportFigure


def write_grid(folder: Path, name: str, grid: Grid, *, figures: "Sequence[ReportFigure]" = ()) -> list[Path]:
    """Write a table as `NAME.md`, `.csv`, `.tex` and a self-contained `.html`.

    Args:
        folder: The folder; created if it is missing.
        name: Name of the files.
        grid: The table.
        figures: Figures for the HTML page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    if figures:
        from side4video.reports.figures.figure import figure_html

        drawings = [figure_html(figure) for figure in figures]
    table = Markup(grid_html(grid))  # noqa: S704 - its cells are escaped
    texts = {
        f"{name}.md": grid_markdown(grid),
        f"{name}.csv": grid_csv(grid),
        f"{name}.tex": grid_latex(grid),
        f"{name}.html": render("table.html.j2", title=grid.title, table=table, figures=drawings),
    }
    for file, text in texts.items():
        (folder / file).write_bytes(text.encode())
    return [folder / file for file in texts]


def write_comparison(
    folder: Path,
    rows: Sequence[ArmResult],
    *,
    title: str,
    metric: str,
    mode: Mode,
    notes: Sequence[str],
    figures: "Sequence[ReportFigure]" = (),
) -> list[Path]:
    """Write a comparison of arms: the report of a sweep with further figures in its page, and a LaTeX table."""
    files = write_report(folder, rows, title=title, metric=metric, mode=mode, notes=notes, figures=figures)
    latex = folder / "comparison.tex"
    table = compare_rows(rows, metric=metric, mode=mode)
    latex.write_bytes(grid_latex(as_grid(table, title=title, notes=notes)).encode())
    return [*files, latex]


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

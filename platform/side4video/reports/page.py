"""The report of a sweep as files: a table as Markdown and CSV, two figures, and one page that holds it all.

The page needs nothing beside it: figures are inside, there is no script and no address of another machine.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from side4video.reports.arms import METRIC, ArmResult, Mode, is_complete
from side4video.reports.columns import VALUE, as_markdown, columns, escape_markdown
from side4video.reports.comparison import ComparisonTable, as_csv, compare_rows, explanation
from side4video.reports.render import render

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
) -> list[Path]:
    """Write the report of these arms; what is there of the same name is replaced.

    Rows are in the order of the table; `notes` are sentences above it; `figures` are further ones, for the page.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.html`, `parallel-coordinates.png`, `pareto.png`.
    """
    # Matplotlib takes most of a second to load; whoever imports this module may never draw.
    from side4video.reports.figures.style import save_figure
    from side4video.reports.figures.sweep import coordinates_figure, pareto_figure

    folder.mkdir(parents=True, exist_ok=True)
    table = compare_rows(rows, metric=metric, mode=mode)
    first = [draw(rows, metric=metric, mode=mode) for draw in (coordinates_figure, pareto_figure)]
    pictures = [
        save_figure(each.figure, folder / name) for each, name in zip(first, (COORDINATES, PARETO), strict=True)
    ]
    texts = {
        "comparison.md": markdown_page(table, title=title, notes=notes),
        "comparison.csv": as_csv(table),
        "comparison.html": html_page(table, title=title, notes=notes, figures=(*first, *figures)),
    }
    for name, text in texts.items():
        # As they are on every system: Windows would turn the CSV's line ends into others.
        (folder / name).write_bytes(text.encode())
    return [*(folder / name for name in texts), *pictures]


def markdown_page(table: ComparisonTable, *, title: str, notes: Sequence[str]) -> str:
    """The Markdown file: title, notes, table, what it means, figures."""
    parts = [f"# {escape_markdown(title)}", *map(escape_markdown, notes), as_markdown(table).rstrip("\n")]
    parts += ["\n".join(f"- {escape_markdown(sentence)}" for sentence in explanation(table))]
    parts += [f"![Which settings lead where]({COORDINATES})", f"![Memory and accuracy]({PARETO})"]
    return "\n\n".join(parts) + "\n"


def html_page(
    table: ComparisonTable, *, title: str, notes: Sequence[str], figures: "Sequence[ReportFigure]" = ()
) -> str:
    """The HTML page: notes, the columns of the Markdown table with a body for each part of the sweep, figures."""
    from side4video.reports.figures.figure import figure_html

    return render(
        "comparison.html.j2",
        title=title,
        notes=notes,
        columns=columns(table),
        groups=[list(group) for _, group in groupby(enumerate(table.arms), key=lambda item: item[1].table)],
        is_complete=is_complete,
        main_column=VALUE,
        explanation=explanation(table),
        figures=map(figure_html, figures),
    )

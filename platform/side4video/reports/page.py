"""The report of a sweep as files: a table as Markdown and CSV, two figures, and one page that holds it all.

The page needs nothing beside it: figures are inside, there is no script and no address of another machine.
"""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from side4video.reports.arms import METRIC, ArmResult, Mode, is_complete
from side4video.reports.columns import VALUE, Column, as_markdown, columns, escape_markdown
from side4video.reports.comparison import ComparisonTable, as_csv, compare_rows, explanation

if TYPE_CHECKING:
    from side4video.reports.figures.figure import ReportFigure

COORDINATES = "parallel-coordinates.png"
PARETO = "pareto.png"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #666; --line: #ddd; --paper: #fff; --band: #f4f6f8;
  --muted: #b5b5b5; --blue: #0072b2; --orange: #d55e00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a0a0a0; --line: #3a3d42; --paper: #17191c; --band: #202327;
    --muted: #5d6169; --blue: #3b97d3; --orange: #e8752a; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; text-align: left; white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; }
th small { display: block; font-weight: 400; color: var(--soft); }
thead th { border-bottom: 2px solid var(--line); }
tbody { border-bottom: 1px solid var(--line); }
tbody tr:hover { background: var(--band); }
.number { text-align: right; }
.cut-short td { color: var(--soft); font-style: italic; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure.paper svg { background: #fff; border-radius: 6px; }
figcaption { max-width: 62rem; margin-top: 0.4rem; }
.notes { color: var(--soft); font-size: 0.9rem; }
""".strip()


def write_report(
    folder: Path,
    rows: Sequence[ArmResult],
    *,
    title: str,
    metric: str = METRIC,
    mode: Mode = "max",
    notes: Sequence[str] = (),
    sheets: "Sequence[ReportFigure]" = (),
) -> list[Path]:
    """Write the report of these arms; what is there of the same name is replaced.

    Args:
        folder: Where; made if it is missing.
        rows: The arms, in the order in which they are to stand.
        title: The heading, such as the sweep's name.
        metric: What the arms are compared by.
        mode: Whether a higher or a lower value of it is better.
        notes: Sentences for the reader, above the table.
        sheets: Further figures, for the page.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.html`, `parallel-coordinates.png`, `pareto.png`.
    """
    # Matplotlib takes most of a second to load; whoever imports this module may never draw.
    from side4video.reports.figures.figure import sheet_html
    from side4video.reports.figures.style import save
    from side4video.reports.figures.sweep import coordinates_sheet, pareto_sheet

    folder.mkdir(parents=True, exist_ok=True)
    table = compare_rows(rows, metric=metric, mode=mode)
    own = [draw(rows, metric=metric, mode=mode) for draw in (coordinates_sheet, pareto_sheet)]
    figures = [save(sheet.figure, folder / name) for sheet, name in zip(own, (COORDINATES, PARETO), strict=True)]
    drawn = "".join(sheet_html(sheet) for sheet in (*own, *sheets))
    texts = {
        "comparison.md": markdown_page(table, title=title, notes=notes),
        "comparison.csv": as_csv(table),
        "comparison.html": html_page(table, title=title, notes=notes, figures=drawn),
    }
    for name, text in texts.items():
        # As they are on every system: Windows would turn the CSV's line ends into others.
        (folder / name).write_bytes(text.encode())
    return [*(folder / name for name in texts), *figures]


def markdown_page(table: ComparisonTable, *, title: str, notes: Sequence[str]) -> str:
    """The Markdown file: title, notes, table, what it means, figures."""
    parts = [f"# {escape_markdown(title)}", *map(escape_markdown, notes), as_markdown(table).rstrip("\n")]
    parts += ["\n".join(f"- {escape_markdown(sentence)}" for sentence in explanation(table))]
    parts += [f"![Which settings lead where]({COORDINATES})", f"![Memory and accuracy]({PARETO})"]
    return "\n\n".join(parts) + "\n"


def html_page(table: ComparisonTable, *, title: str, notes: Sequence[str], figures: str) -> str:
    """The page; its figures are HTML."""
    body = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    body += f"<div class='wide'>\n{_html_table(table)}</div>\n<ul class='notes'>\n"
    body += "".join(f"<li>{escape(sentence)}</li>\n" for sentence in explanation(table))
    return page_of(title, f"{body}</ul>\n{figures}")


def page_of(title: str, body: str) -> str:
    """A page that needs nothing beside it: no script, no address.

    Args:
        title: Of the page, as text.
        body: What stands below the title, as HTML.
    """
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{body}</body>\n</html>\n"
    )


def _html_table(table: ComparisonTable) -> str:
    """The columns of the Markdown table; a body for each table of the sweep."""
    shown = columns(table)
    head = "".join(f"<th{_side(each)}>{escape(each.heading)}{_unit(each)}</th>" for each in shown)
    bodies = []
    for _, group in groupby(range(len(table.lines)), key=lambda number: table.lines[number].row.table):
        bodies.append("<tbody>\n" + "".join(_html_row(table, shown, number) for number in group) + "</tbody>\n")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n{''.join(bodies)}</table>\n"


def _html_row(table: ComparisonTable, shown: Sequence[Column], number: int) -> str:
    line = table.lines[number]
    cells = []
    for each in shown:
        cell = escape(each.cells[number])
        cells.append(
            f"<td{_side(each)}>{f'<strong>{cell}</strong>' if line.is_best and each.key == VALUE else cell}</td>"
        )
    kind = "" if is_complete(line.row) else " class='cut-short'"
    return f"<tr{kind}>{''.join(cells)}</tr>\n"


def _side(column: Column) -> str:
    return " class='number'" if column.is_number else ""


def _unit(column: Column) -> str:
    return f"<small>{escape(column.unit)}</small>" if column.unit else ""

"""Cells of CSV files that people open in spreadsheets.

A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a formula, and names of
classes, arms and captions may. An apostrophe before it, the spreadsheets' own mark of a text, keeps it a text. Numbers
stay as they are.
"""

import csv
import io
import re
from collections.abc import Iterator

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_KEPT = re.compile(r"'+[=+\-@\t\r]")


def text_cell(text: str) -> str:
    """A text as a cell; `cell_text` gives it back."""
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def cell_text(cell: str) -> str:
    """The text of a cell that `text_cell` made; cells of earlier versions are texts already."""
    return cell[1:] if _KEPT.match(cell) else cell


def csv_rows(text: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, by heading; a quoted cell may hold ends of lines."""
    for row in csv.DictReader(io.StringIO(text, newline="")):
        yield {name: cell_text(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text == text.strip() and "_" not in text

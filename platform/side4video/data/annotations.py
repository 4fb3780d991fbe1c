"""Tables of clips as people write them: CSV, tabs or spaces, with or without a header.

Every complaint names file and line. What is understood:

    path,label,start,end,reversed,group,split      a header names the columns, in any order; only `path` and
    a.mp4,waving a hand,0.5,2.5,,video7,train      `label` are required; other columns are ignored

    abseiling/a.mp4 0                              without a header: path and label
"""

import csv
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from side4video.core.errors import InputError

Delimiter = Literal["auto", "comma", "space", "tab"]

REQUIRED = ("path", "label")
COLUMNS = ("path", "label", "start", "end", "reversed", "group", "split")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, by this project's column names."""

    origin: str
    """File and line."""

    values: Mapping[str, str]
    """Stripped cells of the known columns; an absent column is absent."""


def read_rows(path: Path, *, delimiter: Delimiter = "auto", columns: Mapping[str, str] | None = None) -> list[Row]:
    """All rows of a table.

    Args:
        path: A UTF-8 file.
        delimiter: `auto` looks at the first line: a tab, else a comma, else spaces.
        columns: The header's name for each of `COLUMNS`, where it differs.

    Raises:
        InputError: The file is missing, empty or not UTF-8, or its lines do not make a table with path and label.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            str(path),
            f"the annotation file cannot be read: {error.strerror}",
            fix="check the path; relative ones start at the folder the command runs in",
        ) from error
    names = tuple((columns or {}).get(name, name) for name in COLUMNS)
    return list(_read_rows(path, delimiter, names, (status.st_mtime_ns, status.st_size, status.st_ino)))


@lru_cache(maxsize=8)
def _read_rows(path: Path, delimiter: Delimiter, names: tuple[str, ...], version: tuple[int, ...]) -> tuple[Row, ...]:  # noqa: ARG001 - version is for the cache
    text = _read_text(path)
    lines = _split_lines(path, text, delimiter)
    if not lines:
        raise InputError(str(path), "the list is empty", fix="it needs one line per clip: path and label")
    first_line, first = lines[0]
    has_header = names[0] in first or names[1] in first
    header = _header(f"{path}:{first_line}", first, names) if has_header else list(REQUIRED)
    body = lines[1:] if has_header else lines
    if not body:
        raise InputError(str(path), "the list has a header and no clips", fix="it needs one line per clip")
    rows = []
    for number, cells in body:
        origin = f"{path}:{number}"
        if len(cells) != len(header):
            raise InputError(
                origin,
                f"{len(cells)} columns, where {len(header)} are expected ({', '.join(header)})",
                fix="quote cells that hold the delimiter; without a header the columns are path and label",
            )
        known = {name: cell for name, cell in zip(header, cells, strict=True) if name in COLUMNS}
        for name in REQUIRED:
            if not known[name]:
                raise InputError(origin, f"the {name} is empty", fix="fill it in, or remove the line")
        rows.append(Row(origin, known))
    return tuple(rows)


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"the annotation file cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}", "not UTF-8 text", fix="save the file as UTF-8 (iconv can)") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path}:{line}", "a NUL character: not a text file", fix="save the list as UTF-8 text")
    return text


def _split_lines(path: Path, text: str, delimiter: Delimiter) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not blank."""
    head = next((line for line in text.split("\n") if line.strip()), "")
    if delimiter == "auto":
        delimiter = "tab" if "\t" in head else "comma" if "," in head else "space"
    if delimiter == "space":
        width = len(head.split())
        # The path is the first column and may hold spaces, so lines are divided from the right.
        pairs = ((number, line.rsplit(maxsplit=width - 1)) for number, line in enumerate(text.split("\n"), 1))
        return [(number, cells) for number, cells in pairs if cells]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if delimiter == "tab" else ",", strict=True)
    lines = []
    begin = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                lines.append((begin, stripped))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{begin}", f"not a table: {error}", fix="check the quotes from here on") from error
    return lines


def _header(origin: str, cells: Sequence[str], names: Sequence[str]) -> list[str]:
    """This project's names for the columns; a column that is not ours keeps a name that cannot clash."""
    ours = dict(zip(names, COLUMNS, strict=True))
    repeated = sorted({cell for cell in cells if cells.count(cell) > 1})
    if repeated:
        raise InputError(origin, f"the header names {', '.join(map(repr, repeated))} twice", fix="rename one")
    for name, column in ours.items():
        if name not in cells and (column in REQUIRED or name != column):
            near = difflib.get_close_matches(name, cells, 1)
            raise InputError(
                origin,
                f"no column {name!r} among {', '.join(cells)}",
                fix=f"did you mean {near[0]!r}? Rename it, or say so under `columns`"
                if near
                else "name it in the header, or say under `columns` which one it is",
            )
    for cell in cells:
        if cell not in ours:
            near = difflib.get_close_matches(cell.lower(), [name for name in names if name not in cells], 1, cutoff=0.8)
            if near:
                raise InputError(origin, f"unknown column {cell!r}", fix=f"did you mean {near[0]!r}?")
    return [ours.get(cell, f"ignored {cell}") for cell in cells]


def as_seconds(row: Row, column: str) -> float | None:
    """A time of the row; None where it is absent or empty.

    Raises:
        InputError: It is no number, or negative.
    """
    text = row.values.get(column, "")
    if not text:
        return None
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        raise InputError(row.origin, f"{column} is {text!r}", allowed="seconds from the begin of the file, such as 2.5")
    return float(text)


def as_flag(row: Row, column: str) -> bool:
    """A yes or no of the row; absent or empty is no.

    Raises:
        InputError: It is neither.
    """
    text = row.values.get(column, "").lower()
    if text in ("1", "true", "yes"):
        return True
    if text in ("", "0", "false", "no"):
        return False
    raise InputError(row.origin, f"{column} is {text!r}", allowed="1, true, yes, 0, false, no, or empty")

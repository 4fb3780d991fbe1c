"""Reads tables of clips: CSV, or columns divided by tabs or spaces, with or without a header.

Every error names file and line. The forms are:

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

from pydantic import model_validator

from side4video.core.errors import InputError
from side4video.core.spec import Spec

Delimiter = Literal["auto", "comma", "space", "tab"]
_VIDEO_ENDINGS = frozenset(
    {"3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "ts", "vob", "webm", "wmv"}
)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a kind of table."""

    columns: tuple[str, ...]
    """All known columns."""
    required: tuple[str, ...]
    """Required columns. A table without a header has exactly these."""
    may_be_empty: tuple[str, ...] = ()
    """Required columns whose cells may be empty."""
    needs_header: bool = False
    """Whether the first line is always the header."""
    renamable: bool = True
    """Whether documents can rename columns, under `columns`."""
    lists: tuple[str, ...] = ()
    """Columns whose cells hold a list, see `label_columns.py`. In JSON they may be lists, and empty ones."""
    synonyms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Other names of columns, in lower case without `_`, `-` and spaces."""


CLIPS = TableSchema(
    ("path", "label", "start", "end", "reversed", "group", "split"),
    required=("path", "label"),
    synonyms=(
        (
            "path",
            ("video", "videos", "filename", "file", "files", "clip", "filepath", "videopath", "videoname", "name"),
        ),
        ("label", ("labels", "class", "classname", "classes", "target", "category", "y", "action", "labelname")),
        ("start", ("startseconds", "starttime", "begin")),
        ("end", ("endseconds", "endtime", "stop")),
        ("group", ("source",)),
        ("split", ("subset", "partition")),
    ),
)
"""One labelled clip a line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    origin: str
    """File and line."""
    values: Mapping[str, str]
    """Stripped cells by column. Columns that the table does not have are left out."""


class ColumnNamesSpec(Spec):
    """Names of the columns in the file. The fields are the standard names."""

    @model_validator(mode="after")
    def names_differ(self) -> "ColumnNamesSpec":
        """Each name is used for one column."""
        names = list(self.model_dump().values())
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the column {repeated[0]!r} is given two meanings")
        return self


def read_rows(
    path: Path, *, delimiter: Delimiter = "auto", columns: Mapping[str, str] | None = None, form: TableSchema = CLIPS
) -> list[Row]:
    """All rows of a table.

    The delimiter `auto` looks at the first line: a tab, else a comma, else spaces. `columns` has the header's name for
    each column of the form, where it differs.

    Raises:
        InputError: The file is missing, empty or not UTF-8, or its lines do not make a table of the form.
    """
    names = tuple((columns or {}).get(name, name) for name in form.columns)
    return list(_read_rows(path, delimiter, names, form, file_version(path)))


@lru_cache(maxsize=8)
def _read_rows(
    path: Path,
    delimiter: Delimiter,
    names: tuple[str, ...],
    form: TableSchema,
    version: tuple[int, ...],  # noqa: ARG001 - for the cache
) -> tuple[Row, ...]:
    lines = _split_lines(path, read_text(path), delimiter)
    required = " and ".join(form.required)
    if not lines:
        raise InputError(str(path), "the list is empty", fix=f"it needs one line per clip: {required}")
    first_line, first = lines[0]
    first = recognise_columns(f"{path}:{first_line}", first, names, form)
    has_header = form.needs_header or any(
        name in first for name, column in zip(names, form.columns, strict=True) if column in form.required
    )
    if not has_header:
        _refuse_unknown_header(path, lines, form)
    header = name_columns(f"{path}:{first_line}", first, names, form) if has_header else list(form.required)
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
                fix="divide the columns by commas, not by semicolons"
                if len(cells) == 1 and ";" in cells[0]
                else "quote cells that hold the delimiter"
                + ("" if form.needs_header else f"; without a header the columns are {required}")
                + ("" if has_header else ", and a header of other names needs `columns` in the document"),
            )
        known = {name: cell for name, cell in zip(header, cells, strict=True) if name in form.columns}
        for name in form.required:
            if not known[name] and name not in form.may_be_empty:
                raise InputError(origin, f"the {name} is empty", fix="fill it in, or remove the line")
        rows.append(Row(origin, known))
    return tuple(rows)


def recognise_columns(origin: str, cells: Sequence[str], names: Sequence[str], form: TableSchema) -> list[str]:
    """The cells of a first line; a cell that names a column otherwise is that column's name.

    A column that a document names under `columns` has that name only. `Video` is `path`, and `class_name` is `label`.

    Raises:
        InputError: Two cells name the same column.
    """
    other_names = {column: {column, *synonyms} for column, synonyms in form.synonyms}
    found = list(cells)
    for name, column in zip(names, form.columns, strict=True):
        if name in cells or name != column:
            continue
        alike = [at for at, cell in enumerate(cells) if plain_column_name(cell) in other_names.get(column, {column})]
        if len(alike) > 1 and column in form.required:
            both = " and ".join(repr(cells[at]) for at in alike)
            raise InputError(
                origin, f"{both} may both be the {column}", fix=f"say which one it is: columns: {{{column}: ...}}"
            )
        if len(alike) == 1:
            found[alike[0]] = name
    # A first clip that happens to be called so: a header names every column that is required.
    required = [name for name, column in zip(names, form.columns, strict=True) if column in form.required]
    return found if all(name in found for name in required) else list(cells)


def plain_column_name(cell: str) -> str:
    """What different spellings of a column's name have in common: `class_name`, `Class Name` and `className`."""
    return re.sub(r"[\s_#-]", "", cell).lower()


def _refuse_unknown_header(path: Path, lines: Sequence[tuple[int, list[str]]], form: TableSchema) -> None:
    """Refuse a first line that looks like a header, where the columns are not known."""
    (number, first), body = lines[0], [cells for _, cells in lines[1:]]
    if not _looks_like_header(first, body, form):
        return
    required = " and ".join(form.required)
    columns = ", ".join(f"{column}: ..." for column in form.required)
    raise InputError(
        f"{path}:{number}",
        f"the first line looks like a header of other columns: {shorten_list(first)}",
        allowed=f"a header with {required}, or lines of {required} without one",
        fix=f"rename the columns, or name them in the document: columns: {{{columns}}}"
        if form.renamable
        else "rename the columns",
    )


def _looks_like_header(first: Sequence[str], body: Sequence[Sequence[str]], form: TableSchema) -> bool:
    """Whether a first line differs from all others as a header does.

    Either its first cell is a word, and those below are paths (with a dot, a slash or a digit) or it has more columns
    than a table without a header. Or those below are files of videos, by their endings, and it is none. Or those below
    end with numbers, and it ends with a word.
    """
    if re.fullmatch(r"[^\W\d]+([ _-]?[^\W\d]+)*", first[0]):
        are_paths = bool(body) and all(re.search(r"[./\\\d]", cells[0]) for cells in body)
        return are_paths or len(first) > len(form.required)
    endings = {_ending(cells[0]) for cells in body}
    if endings and endings <= _VIDEO_ENDINGS:
        return _ending(first[0]) not in _VIDEO_ENDINGS
    are_numbers = len(body) > 1 and all(cells[-1].isdecimal() for cells in body)
    return are_numbers and not _ending(first[0]) and re.fullmatch(r"[^\W\d]\w*", first[-1]) is not None


def _ending(path: str) -> str:
    """What stands behind the last dot of a file's name, in lower case; empty if there is none."""
    found = re.search(r"\.(\w{1,5})$", path)
    return found[1].lower() if found else ""


def file_version(path: Path) -> tuple[int, ...]:
    """Modification time, size and inode of a file, as a key for caches.

    Raises:
        InputError: The file is missing.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            str(path),
            f"the annotation file cannot be read: {error.strerror}",
            fix="check the path; relative ones start at the folder the command runs in",
        ) from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without its byte order mark.

    Raises:
        InputError: The file cannot be read, or is no UTF-8 text; the line is named.
    """
    file_version(path)
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


def name_columns(origin: str, cells: Sequence[str], names: Sequence[str], form: TableSchema) -> list[str]:
    """The standard names for the columns of a header. An unknown column gets a name that cannot clash.

    `names` has the header's name for each column of the form; `origin` is file and line of the header.

    Raises:
        InputError: A column is missing, appears twice, or is one of ours misspelt.
    """
    ours = dict(zip(names, form.columns, strict=True))
    repeated = sorted({cell for cell in cells if cells.count(cell) > 1})
    if repeated:
        raise InputError(origin, f"the header names {', '.join(map(repr, repeated))} twice", fix="rename one")
    for name, column in ours.items():
        if name not in cells and (column in form.required or name != column):
            near = difflib.get_close_matches(name, cells, 1)
            raise InputError(
                origin,
                f"no column {name!r} among {', '.join(cells)}",
                allowed=f"a header with {', '.join(dict.fromkeys([*_required_names(names, form), name]))}",
                fix=f"did you mean {near[0]!r}? Rename it{', or say so under `columns`' if form.renamable else ''}"
                if near
                else f"name it in the header{', or say under `columns` which one it is' if form.renamable else ''}",
            )
    for cell in cells:
        if cell not in ours:
            near = difflib.get_close_matches(cell.lower(), [name for name in names if name not in cells], 1, cutoff=0.8)
            if near:
                raise InputError(origin, f"unknown column {cell!r}", fix=f"did you mean {near[0]!r}?")
    return [ours.get(cell, f"ignored {cell}") for cell in cells]


def _required_names(names: Sequence[str], form: TableSchema) -> list[str]:
    """The header's names of the columns that a table needs."""
    return [name for name, column in zip(names, form.columns, strict=True) if column in form.required]


def as_span(row: Row) -> tuple[float | None, float | None]:
    """Start and end of the row, in seconds.

    Raises:
        InputError: One is no time, or the start is not before the end.
    """
    start, end = as_seconds(row, "start"), as_seconds(row, "end")
    if end is not None and (start or 0.0) >= end:
        raise InputError(
            row.origin,
            f"start {start or 0.0:g} is not before end {end:g}",
            fix="both are seconds from the file's begin",
        )
    return start, end


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


def shorten_list(names: Sequence[str]) -> str:
    """The first names of a list, and the number of others; for messages."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

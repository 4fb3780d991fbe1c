"""Reads annotation files in JSON. Errors name file and entry."""

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from side4video.core.bounded_files import parse_json
from side4video.core.errors import InputError
from side4video.data.annotations.tables import (
    Row,
    TableSchema,
    file_version,
    name_columns,
    read_text,
    recognise_columns,
    shorten_list,
)


def read_json(path: Path) -> Any:
    """The document in a UTF-8 file; it is shared between callers, so it must not be changed.

    Raises:
        InputError: The file is missing, not UTF-8 or not JSON, or an object has one name twice.
    """
    return _read_json(path, file_version(path))


# Three, because a data set has at most three: its files are up to hundreds of megabytes in memory.
@lru_cache(maxsize=3)
def _read_json(path: Path, version: tuple[int, ...]) -> Any:  # noqa: ARG001 - version is for the cache
    return _parse(read_text(path), path, 1)


def read_json_lines(path: Path) -> list[tuple[int, Any]]:
    """Line number and document of every line that is not blank.

    Raises:
        InputError: The file is missing or not UTF-8, or a line is not JSON.
    """
    # Not splitlines(): JSON may hold characters that it takes for the end of a line.
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    return [(number, _parse(line, path, number)) for number, line in lines]


def read_json_rows(path: Path, *, columns: Mapping[str, str], form: TableSchema) -> list[Row]:
    """One object a line as the rows of a table; null and an absent field are an absent cell, other fields are ignored.

    `columns` has the objects' name for each column of the form.

    Raises:
        InputError: The file is missing, empty or not UTF-8, or a line is no such object; the line is named.
    """
    entries = read_json_lines(path)
    if not entries:
        raise InputError(str(path), "the list is empty", fix="it needs one object per clip, in a line of its own")
    objects = [(f"{path}:{number}", as_object(value, f"{path}:{number}")) for number, value in entries]
    # A renamed column must stand somewhere, but, unlike in a table, not in every line.
    renamed = {name: "" for column, name in columns.items() if name != column and column not in form.required}
    for name in renamed:
        if not any(name in fields for _, fields in objects):
            raise InputError(str(path), f"no object has the field {name!r}", fix="correct its name under `columns`")
    return [_as_row({**renamed, **fields}, origin, columns, form) for origin, fields in objects]


def _as_row(fields: Mapping[str, Any], origin: str, columns: Mapping[str, str], form: TableSchema) -> Row:
    present = {name: cell for name, cell in fields.items() if cell is not None}
    names = [columns[column] for column in form.columns]
    header = list(present)
    if not all(columns[column] in present for column in form.required):
        header = recognise_columns(origin, header, names, form)
    header = name_columns(origin, header, names, form)
    cells = {
        column: _as_list_cell(cell, origin, name)
        if column in form.lists and isinstance(cell, list)
        else str(cell)
        if isinstance(cell, bool)
        else as_cell(cell, origin, name)
        for column, (name, cell) in zip(header, present.items(), strict=True)
        if column in form.columns
    }
    for column in form.required:
        if not cells[column] and column not in form.lists:
            raise InputError(origin, f"the {column} is empty", fix="fill it in, or remove the line")
    return Row(origin, cells)


def _as_list_cell(values: Sequence[Any], origin: str, name: str) -> str:
    """A list as the cell of a table: JSON text, in which a class name may hold any character."""
    return json.dumps([as_cell(value, origin, name) for value in values], ensure_ascii=False)


def as_object(value: Any, origin: str, fields: Sequence[str] = ()) -> Mapping[str, Any]:
    """The value, known to be an object with these fields.

    Raises:
        InputError: It is none, or a field is missing.
    """
    if not isinstance(value, dict):
        allowed = f"an object with the fields {', '.join(fields)}" if fields else "an object"
        raise InputError(origin, f"found {value!r:.60}", allowed=allowed)
    for name in fields:
        if name not in value:
            near = difflib.get_close_matches(name, value, 1)
            raise InputError(
                origin,
                f"no field {name!r} among {shorten_list(list(value))}",
                fix=f"did you mean {near[0]!r}? Rename it" if near else "is it another file?",
            )
    return value


def as_list(value: Any, origin: str) -> Sequence[Any]:
    """The value, known to be a list.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, list | tuple):
        raise InputError(origin, f"found {value!r:.60}", allowed="a list")
    return value


def as_text(value: Any, origin: str) -> str:
    """The value, known to be text that can be written as UTF-8.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, str):
        raise InputError(origin, f"found {value!r:.60}", allowed="text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            origin, f"half a character at position {error.start}: {value!a:.60}", fix="write the text again"
        ) from error
    return value


def as_cell(value: Any, origin: str, name: str) -> str:
    """A field as the cell of a table; null is an empty one.

    Raises:
        InputError: It is neither text nor a number.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(origin, f"{name} is {value!r:.60}", allowed="text or a number")
    return as_text(str(value), origin).strip()


def _parse(text: str, path: Path, first_line: int) -> Any:
    try:
        return parse_json(text, _without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{first_line - 1 + error.lineno}", f"not JSON: {error.msg}", fix="is the file cut off?"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}:{first_line}", f"no JSON that can be relied on: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields; JSON itself would let the last one of two of the same name win without a word."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{repeated!r} appears twice in one object")
    return fields

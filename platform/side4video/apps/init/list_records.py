"""Checks the records of a list in JSON, so that errors name the user's own file and its record."""

from collections.abc import Mapping
from typing import Any

from side4video.apps.init.list_columns import Role, VideoList
from side4video.core.errors import InputError


def check_records(listed: VideoList, roles: Mapping[Role, str]) -> None:
    """Check that each record of a list of labels names a video, and has a label where the list is written anew.

    Raises:
        InputError: One does not; it names the record, counted from 1.
    """
    for number, record in enumerate(listed.rows, 1):
        _check(listed, number, record, roles["path"], kinds=(str,), what="a path, as text")
        if listed.form == "json":  # other forms are read by the data set itself, which names their line
            _check(listed, number, record, roles["label"], kinds=(str, int, float), what="a label: text or a number")


def _check(
    listed: VideoList, number: int, record: Mapping[str, Any], name: str, *, kinds: tuple[type, ...], what: str
) -> None:
    value = record.get(name)
    if isinstance(value, kinds) and not isinstance(value, bool) and value != "":
        return
    where = f"{listed.path}: record {number}"
    if value is None or value == "":
        raise InputError(where, f"no {name!r}", allowed=what, fix="add it, or remove the record")
    raise InputError(where, f"{name!r} is {value!s:.40}", allowed=what, fix="correct it, or remove the record")

"""The SQLite file of a local store: it is made under another name and renamed, so it is whole or not there.

A file that a killed process left half made, and that holds no run, is made anew. A file of another version of MLflow is
refused and stays as it is.
"""

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from side4video.core.errors import InputError
from side4video.core.units import format_bytes
from side4video.tracking.mlflow import compat

Condition = Literal["missing", "half made", "whole", "older", "foreign"]
"""`half made`: without all tables, and without any row. `older` and `foreign`: with rows, and not of this MLflow."""

_MLFLOW_VERSION_TAG = "version/mlflow"
_SIDE_FILES = ("-journal", "-wal", "-shm")


@dataclass(frozen=True)
class Inspection:
    """What is in a file."""

    condition: Condition
    revision: str = ""
    """Of its tables, by MLflow's count."""
    mlflow: str = ""
    """The version of MLflow that wrote the newest run."""


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file; a `%` or `?` in its path is escaped."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def inspect_file(path: Path) -> Inspection:
    """Look at a file without changing it.

    Raises:
        InputError: It is not an SQLite database, or it cannot be read.
    """
    if not path.exists():
        return Inspection("missing")
    try:
        # Opened for reading, SQLite would refuse the file of a killed process, whose last change it has to undo first.
        mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
        address = f"file:{quote(str(path))}?mode={mode}"
        with closing(sqlite3.connect(address, timeout=20, uri=True)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            revision = _first(database, "SELECT version_num FROM alembic_version", tables)
            if revision == compat.newest_revision():
                return Inspection("whole", revision)
            is_known = revision in compat.known_revisions()
            if (is_known or not revision) and not _holds_rows(database, tables):
                return Inspection("half made", revision)
            version = _first(database, "SELECT value FROM tags WHERE key = ? LIMIT 1", tables, _MLFLOW_VERSION_TAG)
            return Inspection("older" if is_known else "foreign", revision, version)
    except sqlite3.DatabaseError as error:
        allowed = "a file that can be written, or that is not there yet"
        raise InputError("tracking.uri", f"{path} is not a SQLite database ({error})", allowed=allowed) from error


def check_version(path: Path, found: Inspection) -> None:
    """Refuse a file of another version of MLflow.

    Raises:
        InputError: It is of an older version, a newer one, or another program.
    """
    if found.condition not in ("older", "foreign"):
        return
    import mlflow

    by = f"MLflow {found.mlflow}" if found.mlflow else "another version of MLflow"
    if found.condition == "older":
        raise InputError(
            "tracking.uri",
            f"{path} was made by {by} (tables {found.revision}); MLflow {mlflow.__version__} is installed",
            fix=f"copy the file, then run: mlflow db upgrade '{sqlite_uri(path)}'",
        )
    what = f"tables {found.revision}, unknown to it" if found.revision else "without MLflow's tables"
    by = by if found.revision else "another program"
    raise InputError(
        "tracking.uri",
        f"{path} was made by {by} ({what}); MLflow {mlflow.__version__} is installed",
        fix="install the version of MLflow that made it, or name another store: "
        "MLFLOW_TRACKING_URI=sqlite:////absolute/path.db",
    )


def make_file(path: Path, artifacts: str) -> None:
    """Make the file with MLflow's tables, in place of a half-made one. The caller holds the store's lock.

    `artifacts` is the artifact location of MLflow's default experiment, which side4video does not use.

    Raises:
        InputError: There is no room, or the folder cannot be written.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    partial = path.with_name(f".{path.name}.new")
    _remove(partial)
    try:
        partial.touch()  # MLflow would try for minutes where this fails
        compat.make_tables(sqlite_uri(partial), artifacts)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        # The journal of a half-made file would be applied to the new one.
        for suffix in _SIDE_FILES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        partial.replace(path)
    except (OSError, SQLAlchemyError, MlflowException) as error:
        raise _cannot_make(path, error) from error
    finally:
        _remove(partial)


def _cannot_make(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
    free = ""
    with suppress(OSError):
        state = os.statvfs(path.parent)
        free = f"; {format_bytes(state.f_bavail * state.f_frsize)} are free there, and it needs 2 MiB"
    return InputError(
        "tracking.uri",
        f"{path} cannot be made: {reason}{free}",
        fix="make room, or name a folder that can be written: SIDE4VIDEO_HOME=/some/folder",
    )


def _remove(path: Path) -> None:
    for name in (path.name, *(path.name + suffix for suffix in _SIDE_FILES)):
        with suppress(OSError):
            path.with_name(name).unlink(missing_ok=True)


def _first(database: sqlite3.Connection, query: str, tables: list[str], *values: str) -> str:
    """The first value of a query; empty without a row, or without its table."""
    if not any(f" {table} " in f"{query} " for table in tables):
        return ""
    row = database.execute(query, values).fetchone()
    return str(row[0]) if row else ""


def _holds_rows(database: sqlite3.Connection, tables: list[str]) -> bool:
    """Whether any table holds a row that people would miss: all but MLflow's own first ones."""
    for table in tables:
        name = table.replace('"', '""')
        if table in ("alembic_version", "workspaces") or table.startswith("sqlite_"):
            continue
        if table == "experiments":
            rows = database.execute(f'SELECT count(*) FROM "{name}" WHERE experiment_id != 0')  # noqa: S608 - a table's name
        else:
            rows = database.execute(f'SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT 1)')  # noqa: S608
        if rows.fetchone()[0]:
            return True
    return False

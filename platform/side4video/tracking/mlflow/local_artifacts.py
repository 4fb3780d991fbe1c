"""Artifacts of a store without a server: files beside its database, written whole or not at all.

MLflow records absolute addresses. A home that was moved or copied is recognised, and its database gets the new ones.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from side4video.core.files import replacing

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns that hold addresses of artifacts."""


def local_path(address: str) -> Path | None:
    """The path of an artifact address; None if it is not of this machine's file systems."""
    if address.startswith("file:"):
        return Path(unquote(urlsplit(address).path))
    return Path(address) if address.startswith("/") else None


def was_moved(location: str, folder: Path) -> bool:
    """Whether an experiment's artifacts are in `folder` now, beside the database, and not in its location.

    The location is of another place and has the name of such a folder, and the artifacts came along or are gone there.
    """
    recorded = local_path(location)
    is_other = recorded is not None and recorded != folder and recorded.name == folder.name
    return is_other and (folder.is_dir() or not recorded.is_dir())  # type: ignore[union-attr] - a path, as it is other


def move_addresses(database: Path, before: str, after: str) -> None:
    """Replace the start of all addresses in a database, in one transaction.

    Raises:
        sqlite3.Error: The database cannot be written.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        for table, column in _ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names of this module
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )


def run_folder(address: str, folder: Path) -> Path | None:
    """The folder of a run's artifacts; None if it is not on this machine.

    `address` is recorded for the run, and `folder` is the folder of artifacts beside the database.
    """
    recorded = local_path(address)
    if recorded is None:
        return None
    here = folder / recorded.parent.name / recorded.name  # a run's own folder, and `artifacts` in it
    return here if here.is_dir() or not recorded.parents[1].is_dir() else recorded


def names_in(folder: Path) -> Iterator[str]:
    """Names of the artifacts in a folder."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return (path.name for path in found if not _is_partial(path))


def write_artifact(source: Path, target: Path) -> None:
    """Copy a file, or all files of a folder, each whole or not at all."""
    found = [path for path in source.rglob("*") if not _is_partial(path)] if source.is_dir() else [source]
    files = [path for path in found if path.is_file() or path == source]
    for file in files:
        place = target / file.relative_to(source) if source.is_dir() else target
        with replacing(place) as partial:
            shutil.copyfile(file, partial)


def _is_partial(path: Path) -> bool:
    """Whether another process writes it now (`core.files.replacing`): it is gone in a moment."""
    return path.name.startswith(".") and path.name.endswith(".partial")

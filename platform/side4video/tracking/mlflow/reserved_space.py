"""Disk space reserved beside a local store while a run is going: its end can be recorded on a full disk."""

import os
from contextlib import suppress
from pathlib import Path

from side4video.core.disk_errors import free_bytes
from side4video.core.units import MIB

RESERVED_BYTES = 512 * 1024
"""Enough for SQLite's journal, the final status and the reason."""
_WORTHWHILE_BYTES = 4 * MIB
"""With less free space nothing is reserved: the run needs it itself."""


def reserve_space(database: Path) -> None:
    """Reserve space beside an SQLite file, if there is enough."""
    file = _file(database)
    with suppress(OSError):
        if free_bytes(database.parent) < _WORTHWHILE_BYTES or file.exists():
            return
        with file.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, RESERVED_BYTES)


def release_space(database: Path) -> None:
    """Release what was reserved."""
    with suppress(OSError):
        _file(database).unlink(missing_ok=True)


def _file(database: Path) -> Path:
    return database.with_name(f".{database.name}.reserved")

"""Temporary folders that are removed even if their process is killed: the next command removes them.

A process holds a lock (`flock`) on a file in its folder while it lives. Process ids would not do: containers reuse
them. A folder gets its name when it is locked, so no other process sees one that is not.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "side4video-run-"
_NEW = ".side4video-new-"
"""Start of the name of a folder that is not locked yet."""
_LOCK = "in-use"
_GRACE_SECONDS = 60.0
"""A folder younger than this may have no lock yet."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that exists inside the block."""
    remove_stale()
    new = Path(tempfile.mkdtemp(prefix=_NEW))
    descriptor = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = new.rename(new.with_name(PREFIX + new.name.removeprefix(_NEW)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def remove_stale(*, grace_seconds: float = _GRACE_SECONDS) -> list[Path]:
    """Remove the folders of processes that were killed; returns those that were removed."""
    place = Path(tempfile.gettempdir())
    return [
        folder
        for prefix in (PREFIX, _NEW)
        for folder in place.glob(f"{prefix}*")
        if _remove_if_stale(folder, grace_seconds)
    ]


def _remove_if_stale(folder: Path, grace_seconds: float) -> bool:
    try:
        is_young = time.time() - folder.stat().st_mtime < grace_seconds
    except OSError:  # removed by now
        return False
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # its process did not come to the lock, or it was removed by now
        return not is_young and _remove(folder)
    except OSError:  # of another user
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_being_made = is_young and folder.name.startswith(_NEW)
        return not is_being_made and _remove(folder)
    except OSError:  # in use
        return False
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return True

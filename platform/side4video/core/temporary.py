"""Temporary folders that are removed even if their process is killed: the next command removes them.

A process holds a file lock in its folder while it lives. Process ids would not do: containers reuse them.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "side4video-run-"
_LOCK = "in-use"
_GRACE_SECONDS = 60.0
"""A folder younger than this may have no lock yet."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that exists inside the block."""
    remove_stale()
    while True:
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        lock = FileLock(Path(folder.name) / _LOCK)
        lock.acquire()
        # Another process may have removed the folder between its making and its lock.
        if (Path(folder.name) / _LOCK).exists():
            break
        lock.release()
        folder.cleanup()
    with folder as name:
        try:
            yield Path(name)
        finally:
            lock.release()


def remove_stale(*, grace_seconds: float = _GRACE_SECONDS) -> list[Path]:
    """Remove the folders of processes that were killed; returns those that were removed."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            is_locked_once = (folder / _LOCK).exists()
            if not is_locked_once and time.time() - folder.stat().st_mtime < grace_seconds:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        except (Timeout, OSError):  # in use, of another user, or removed already
            continue
    return removed

"""Temporary folders that are removed even if their process is killed: the next process that makes one removes them.

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
"""A folder younger than this may not be locked yet."""


@contextmanager
def temporary_folder(*, grace_seconds: float = _GRACE_SECONDS) -> Iterator[Path]:
    """A new folder that exists inside the block."""
    remove_stale(grace_seconds=grace_seconds)
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with folder as name, FileLock(Path(name) / _LOCK):
        yield Path(name)


def remove_stale(*, grace_seconds: float = _GRACE_SECONDS) -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < grace_seconds:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # in use, or removed already
            continue

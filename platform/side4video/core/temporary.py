"""Temporary folders that go even if their process is killed: the next process that makes one takes them away.

Each holds a lock on a file in it as long as its process lives, whatever number the process has in whose container.
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
_YOUNG_SECONDS = 60.0
"""So long after it was made a folder may not be locked yet."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder for the time of the block."""
    remove_stale()
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with folder as name, FileLock(Path(name) / _LOCK):
        yield Path(name)


def remove_stale() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # somebody's, or gone already
            continue

"""A folder that appears under its name when all of it is written, and that one process at a time writes.

Until then it is `.NAME.partial` beside its place, and `.NAME.lock` says which process writes it. Where the folder
cannot be replaced because it is a mounted disk, or because nothing may be written beside it, both are inside it.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.errors import InputError
from side4video.core.held_lock import hold

_PARTIAL, _LOCK = ".partial", ".lock"


def hold_folder(folder: Path) -> AbstractContextManager[None]:
    """Let no other process that calls this write the folder inside the block.

    Raises:
        InputError: Another process writes it, or the folder above cannot be written.
    """
    return hold(_beside(folder, _LOCK), what=str(folder), fix="wait until it is done, or name another folder")


def check_new(folder: Path) -> None:
    """Look whether a folder can appear there.

    Raises:
        InputError: The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {_PARTIAL, _LOCK}):
        raise InputError(str(folder), "it is there already", fix="name a new folder")


@contextmanager
def whole_folder(folder: Path, *, wanted: int = 0, last: str = "") -> Iterator[Path]:
    """A folder to write to, which becomes `folder` when the block ends without an error; else nothing is left.

    Where other processes may write the same folder, it has to be held (`hold_folder`). `wanted` is the number of bytes
    to write, if it is known. Where files have to be moved one after the other, that of the name `last` is the last.

    Raises:
        InputError: The folder holds something, or the disk is full or cannot be written.
    """
    partial = _beside(folder, _PARTIAL)
    with explaining_disk_errors(folder, wanted=wanted):
        try:
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir(parents=True)
            yield partial
            check_new(folder)
            _move(partial, folder.resolve(), last=last)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, folder: Path, *, last: str) -> None:
    if partial.parent != folder:
        try:
            partial.rename(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise InputError(str(folder), "it is there already", fix="name a new folder") from error
        return
    moved: list[Path] = []
    try:
        for path in sorted(partial.iterdir(), key=lambda path: (path.name == last, path.name)):
            moved.append(path.rename(folder / path.name))
    except BaseException:
        for path in moved:
            with suppress(OSError):
                path.unlink()
        raise


def _beside(folder: Path, suffix: str) -> Path:
    """`.NAME.SUFFIX` beside the folder, or `.SUFFIX` inside it if the folder cannot be replaced."""
    place = folder.resolve()
    if place.is_dir() and (place.is_mount() or not os.access(place.parent, os.W_OK)):
        return place / suffix
    return place.with_name(f".{place.name}{suffix}")

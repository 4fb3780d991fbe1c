"""Errors of disks as messages for users: no space, a quota, a limit, a read-only file system, no permission, damage.

The system reports them as an `OSError` with a number. Libraries that write files themselves (safetensors, torch,
SQLite, NumPy) raise errors of their own, which are known by their text. Any other error is not one of a disk.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.units import MIB, format_bytes

_FOUND = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.EIO: "the device reports an input/output error",
    errno.EFBIG: "the file is too large for its file system, or for `ulimit -f`",
}
_FIX = {
    errno.ENOSPC: "make room there, then call the same command again",
    errno.EDQUOT: "remove files or raise the quota, then call the same command again",
    errno.EROFS: "name a folder on another file system; for the home, export SIDE4VIDEO_HOME=/some/folder",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EIO: "check the device and its connection, then call the same command again",
    errno.EFBIG: "name a folder on another file system, or raise the limit",
}
_OF_ANY_FILE = {errno.EACCES, errno.EPERM, errno.EIO}
_NEEDS_FILE = {errno.EACCES, errno.EPERM}
"""Also raised for ports and processes: without a file's name it is not an error of a disk."""
_TEXTS = (
    (re.compile(r"no space left on device|\(os error 28\)|database or disk is full", re.IGNORECASE), errno.ENOSPC),
    # NumPy and torch do not say why a file took less than they wrote; a full disk is the usual reason.
    (
        re.compile(r"\d+ requested and \d+ written|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+"),
        errno.ENOSPC,
    ),
    (re.compile(r"disk quota exceeded|\(os error 122\)", re.IGNORECASE), errno.EDQUOT),
    (re.compile(r"read-only file system|readonly database|\(os error 30\)", re.IGNORECASE), errno.EROFS),
    (re.compile(r"\(os error 13\)"), errno.EACCES),
    (re.compile(r"\(os error 5\)"), errno.EIO),
    (re.compile(r"\(os error 27\)"), errno.EFBIG),
)


_PLACES = {
    errno.ENOENT: "there is no such file or folder, and none can be made there",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "it exists, and is something else",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long",
}
"""What else keeps a file from being read or written where a user named it."""


def explain_place(error: BaseException) -> InputError | None:
    """The error of a path that no user could write to, in one sentence; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _PLACES:
        return None
    place = _named(error)
    if place is None or (error.errno == errno.ENOENT and _takes_files(place.absolute().parent)):
        return None
    return InputError(str(place), _PLACES[error.errno], fix="name another place")


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made in a folder: if so, one that is missing there is a bug, and no impossible place."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def explain_disk_error(error: BaseException, *, place: Path | None = None, wanted: int = 0) -> InputError | None:
    """The error in one sentence, with what is free there; None if it is not an error of a disk.

    Of an error with a message for users, the error behind it counts: the message may speak of another machine's disk.

    `place` is the file or folder that was written, for errors that do not name it; `wanted` is the number of bytes to
    write, or 0 if it is not known.
    """
    if isinstance(error, Side4VideoError):
        behind = None if isinstance(error, InputError) else error.__cause__
        return None if behind is None else explain_disk_error(behind, place=place, wanted=wanted)
    code = _number(error)
    if code is None:
        return None
    named = _named(error)
    # A file without permission may be one that was read; all others are of the place that was written.
    place = (named or place) if code in _OF_ANY_FILE else (place or named)
    if place is None:
        if code in _NEEDS_FILE:
            return None
        place = _fullest() if code == errno.ENOSPC else None
    found = _FOUND[code]
    if code == errno.ENOSPC and place is not None:
        wants = f"{format_bytes(wanted)} wanted, " if wanted else ""
        found += f": {wants}{format_bytes(free_bytes(place))} free"
    return InputError(str(place or "a file"), found, fix=_FIX[code])


@contextmanager
def explaining_disk_errors(place: Path, *, wanted: int = 0) -> Iterator[None]:
    """Turn errors of a disk inside the block into an `InputError` that names the place.

    `wanted` is the number of bytes to write there, or 0 if it is not known.

    Raises:
        InputError: The block wrote to a disk that is full, read-only, broken or not permitted.
    """
    try:
        yield
    except Exception as error:
        explained = explain_disk_error(error, place=place, wanted=wanted)
        if explained is None:
            raise
        raise explained from error


def free_bytes(place: Path) -> int:
    """What a user may still write below a path, which need not exist yet."""
    return shutil.disk_usage(existing_folder(place)).free


def existing_folder(place: Path) -> Path:
    """The path if it is a folder, or the folder above it that exists."""
    place = place.absolute()
    return next((each for each in (place, *place.parents) if each.is_dir()), Path("/"))


def _number(error: BaseException) -> int | None:
    for each in _causes(error):
        if isinstance(each, OSError) and each.errno is not None:
            return each.errno if each.errno in _FOUND else None
        text = str(each)
        found = next((code for pattern, code in _TEXTS if pattern.search(text)), None)
        if found is not None:
            return found
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those behind it; Ray raises errors that are their own cause."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _named(error: BaseException) -> Path | None:
    """The file that the error names, or that the error behind it names."""
    for each in _causes(error):
        if isinstance(each, OSError):
            # Of a renaming or a copy, both names are there, and the second is the one that is written.
            name = each.filename2 or each.filename
            if isinstance(name, (str, bytes, os.PathLike)):
                return Path(os.fsdecode(name))
    return None


def _fullest() -> Path | None:
    """Of the folders that commands write to, one on a full disk; an error of a write does not name its file."""
    usual = [Path.cwd(), Path(os.environ.get("SIDE4VIDEO_HOME") or Path.home()), Path(tempfile.gettempdir())]
    free = {place: free_bytes(place) for place in usual}
    place = min(free, key=lambda each: free[each])
    return place if free[place] < MIB else None

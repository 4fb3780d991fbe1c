"""One process at a time works on a folder or a run; the others are told which process that is.

The lock is `flock` on a file. The system releases it when its process ends, also when it is killed. The file says who
holds the lock. It is removed when the work ends; the file of a killed process stays, and the next holder takes it over.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from side4video.core.disk_errors import explain_disk_error
from side4video.core.errors import InputError

_MAX_COMMAND_LENGTH = 200
_MAX_HOLDER_BYTES = 4096
_RETRY_SECONDS = 0.05
_WRITING_SECONDS = 0.5
"""How long to wait for the name of a holder that took the lock just now."""
_NOT_SUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}

_held: set[str] = set()
"""Locks of this process: some network file systems grant a lock twice to one process."""
_guard = threading.Lock()


class HeldError(InputError):
    """Another process holds the lock."""


@contextmanager
def hold(file: Path, *, what: str, fix: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of `file` inside the block; it cannot be held twice, not even by one process.

    `file` and its folder are made if they are missing; `file` is removed afterwards. `what` is what the lock protects,
    and `fix` is what to do if somebody else holds it, both for the error. The lock is waited for up to `wait_seconds`.

    Raises:
        HeldError: Another process holds the lock.
        InputError: The folder cannot be written, or its file system has no locks.
    """
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _take(file, what=what)) is None:
        if time.monotonic() >= deadline:
            raise HeldError(what, _describe_holder(file), fix=fix)
        time.sleep(_RETRY_SECONDS)
    try:
        _write_holder(descriptor)
        yield
    finally:
        # Removed before the lock is released: whoever opened it before finds it removed, and opens a new one.
        with suppress(OSError):
            file.unlink()
        os.close(descriptor)
        with _guard:
            _held.discard(_key(file))


def _take(file: Path, *, what: str) -> int | None:
    """The locked file's descriptor; None if it is locked by somebody else."""
    with _guard:
        if _key(file) in _held:
            return None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _lock(file)
        except OSError as error:
            explained = _explained(error, file, what=what)
            raise explained from (error if explained is not error else None)
        if descriptor is not None:
            _held.add(_key(file))
        return descriptor


def _lock(file: Path) -> int | None:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it after it was opened: the lock of no file


def _explained(error: OSError, file: Path, *, what: str) -> Exception:
    if error.errno in _NOT_SUPPORTED:
        found = f"the file system of {file.parent} cannot lock files ({error.strerror})"
        return InputError(what, found, fix="name a folder on another file system, or mount this one with locks")
    return explain_disk_error(error, place=file.parent) or error


def _write_holder(descriptor: int) -> None:
    document = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "command": _command()}
    with suppress(OSError):  # a full disk: the lock holds, only its holder stays unnamed
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(document).encode(), 0)


def _describe_holder(file: Path) -> str:
    """Who works on it and since when, as far as it is known."""
    deadline = time.monotonic() + _WRITING_SECONDS
    while True:
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
            with file.open("rb") as stream:
                found = json.loads(stream.read(_MAX_HOLDER_BYTES))
            pid, host = int(found["pid"]), str(found["host"])
            if host != socket.gethostname() or _is_alive(pid):
                since, now = datetime.fromtimestamp(float(found["since"])).astimezone(), datetime.now().astimezone()
                moment = since.strftime("%H:%M:%S" if since.date() == now.date() else "%Y-%m-%d %H:%M:%S")
                return f"process {pid} on {host} works on it since {moment} ({found['command']})"
        if time.monotonic() >= deadline:
            return "another process works on it"
        time.sleep(_RETRY_SECONDS)  # of a killed process, or not written yet


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command() -> str:
    """The command's words up to its first option, without addresses and assignments: they may hold passwords."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    words = [{"__main__.py": "side4video", "-c": "python"}.get(program, program)]
    for word in sys.argv[1:]:
        if word.startswith("-"):
            break
        if "://" not in word and "=" not in word:
            words.append(word)
    return " ".join(words)[:_MAX_COMMAND_LENGTH]


def _key(file: Path) -> str:
    return str(file.parent.resolve() / file.name)

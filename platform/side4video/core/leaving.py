"""SIGTERM, by which machines are taken back: whoever is at work finishes its step, saves and goes.

A signal belongs to the process, so what is known of it stands here once. At work, the first signal is a wish that the
work asks for between two steps; a second one, or one that comes when there is nothing to save, ends the process where
it is, as Ctrl-C does.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from side4video.core.errors import Interrupted

_asked, _at_work, _heeding = threading.Event(), threading.Event(), threading.Event()


def ask() -> None:
    """Ask this process to leave, as a signal does."""
    _asked.set()


def is_asked() -> bool:
    """Whether this process is to leave as soon as nothing is lost by it."""
    return _asked.is_set()


def set_at_work(is_at_work: bool) -> None:
    """Say whether somebody asks `is_asked` from time to time."""
    _at_work.set() if is_at_work else _at_work.clear()


def hear(number: int = signal.SIGTERM, frame: Any = None) -> None:  # noqa: ARG001 - a signal handler's names
    """Take a signal: a wish for whoever is at work, else the end.

    Raises:
        Interrupted: If nobody is at work, or it is the second signal.
    """
    if _at_work.is_set() and not _asked.is_set():
        _asked.set()
        return
    raise Interrupted("told to end (SIGTERM)")


def heed_again() -> None:
    """Hear SIGTERM after a library took it for itself inside the block, as Ray's core does when it connects."""
    if _heeding.is_set() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, hear)


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Hear SIGTERM inside the block; in a thread that is not the main one, which hears no signals, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    _at_work.clear()
    before = signal.signal(signal.SIGTERM, hear)
    _heeding.set()
    try:
        yield
    finally:
        _heeding.clear()
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        _asked.clear()
        _at_work.clear()

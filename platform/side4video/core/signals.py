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

_stop_requested, _busy, _is_handling = threading.Event(), threading.Event(), threading.Event()


def request_stop() -> None:
    """Ask this process to leave, as a signal does."""
    _stop_requested.set()


def stop_requested() -> bool:
    """Whether this process is to leave as soon as nothing is lost by it."""
    return _stop_requested.is_set()


def set_busy(is_at_work: bool) -> None:
    """Say whether somebody asks `stop_requested` from time to time."""
    _busy.set() if is_at_work else _busy.clear()


def handle_signal(number: int = signal.SIGTERM, frame: Any = None) -> None:  # noqa: ARG001 - a signal handler's names
    """Take a signal: a wish for whoever is at work, else the end.

    Raises:
        Interrupted: If nobody is at work, or it is the second signal.
    """
    if _busy.is_set() and not _stop_requested.is_set():
        _stop_requested.set()
        return
    raise Interrupted("told to end (SIGTERM)")


def reinstall_handler() -> None:
    """Hear SIGTERM after a library took it for itself inside the block, as Ray's core does when it connects."""
    if _is_handling.is_set() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle_signal)


@contextmanager
def handling_signals() -> Iterator[None]:
    """Hear SIGTERM inside the block; in a thread that is not the main one, which hears no signals, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop_requested.clear()
    _busy.clear()
    before = signal.signal(signal.SIGTERM, handle_signal)
    _is_handling.set()
    try:
        yield
    finally:
        _is_handling.clear()
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        _stop_requested.clear()
        _busy.clear()

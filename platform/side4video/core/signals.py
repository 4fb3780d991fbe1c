"""Handles SIGTERM, which is sent before a machine is reclaimed: finish the step, save a checkpoint, exit.

Signals belong to a process, so their state is global to this module. While work is to be finished, the first signal
sets a flag: training checks it after each step, and results are stored to the end. A second signal, or one at any other
time, ends the process, as Ctrl-C does.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from side4video.core.errors import Terminated

_REPEAT_SECONDS = 0.05

_stop_requested, _busy, _is_handling = threading.Event(), threading.Event(), threading.Event()


def request_stop() -> None:
    """Ask this process to stop, as a signal does."""
    _stop_requested.set()


def stop_requested() -> bool:
    """Whether this process should save and stop."""
    return _stop_requested.is_set()


def set_busy(is_busy: bool) -> None:
    """Set whether something is to be finished after the first signal: a step and its checkpoint, or a delivery."""
    _busy.set() if is_busy else _busy.clear()


def handle_signal(number: int = signal.SIGTERM, frame: Any = None) -> None:  # noqa: ARG001 - a signal handler's names
    """Handle a signal: request a stop if something is to be finished, else end the process.

    Raises:
        Terminated: If there is nothing to finish, or this is the second signal.
    """
    if _busy.is_set() and not _stop_requested.is_set():
        _stop_requested.set()
        return
    raise Terminated("asked to stop (SIGTERM)")


def repeat_lost_signals() -> None:
    """Send a signal once more if Python swallowed its exception.

    A handler may run inside a finaliser or a callback of a library. What it raises there is printed and forgotten, and
    the command would go on as if nobody had asked it to stop.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        lost = unraisable.exc_type
        for kind, number in ((Terminated, signal.SIGTERM), (KeyboardInterrupt, signal.SIGINT)):
            if lost is not None and issubclass(lost, kind):
                # From another thread, because this one is still inside the finaliser.
                again = threading.Timer(_REPEAT_SECONDS, os.kill, (os.getpid(), number))
                again.daemon = True
                again.start()
                return
        before(unraisable)

    sys.unraisablehook = hook


def reinstall_handler() -> None:
    """Install the handler again inside `handling_signals`: Ray replaces it when it connects."""
    if _is_handling.is_set() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle_signal)


@contextmanager
def handling_signals() -> Iterator[None]:
    """Handle SIGTERM inside the block.

    Does nothing inside another such block, or outside the main thread, which alone can install handlers.
    """
    if threading.current_thread() is not threading.main_thread() or _is_handling.is_set():
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

"""Handles SIGTERM, which is sent before a machine is reclaimed: finish the step, save a checkpoint, exit.

Signals belong to a process, so their state is global to this module. While work is to be finished, the first signal
sets a flag: training checks it after each step, and results are stored to the end. A second signal, or one at any other
time, ends the process, as Ctrl-C does.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from side4video.core.errors import Interrupted, Terminated

_REPEAT_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 10.0
_TAKES_LOCKS = ("<frozen importlib", logging.__file__)
"""Python files that take a lock in one line and guard it in the next one. An exception in between leaves it locked for
ever: every thread that imports something, or logs, then waits for it."""

_stop_requested, _busy, _is_handling = threading.Event(), threading.Event(), threading.Event()
_delayed_since: dict[int, float] = {}


def request_stop() -> None:
    """Ask this process to stop, as a signal does."""
    _stop_requested.set()


def stop_requested() -> bool:
    """Whether this process should save and stop."""
    return _stop_requested.is_set()


def set_busy(is_busy: bool) -> None:
    """Set whether something is to be finished after the first signal: a step and its checkpoint, or a delivery."""
    _busy.set() if is_busy else _busy.clear()


def handle_signal(number: int = signal.SIGTERM, frame: Any = None) -> None:
    """Handle a signal: request a stop if something is to be finished, else end the process.

    Raises:
        Terminated: If there is nothing to finish, or this is the second signal.
    """
    if _busy.is_set() and not _stop_requested.is_set():
        _stop_requested.set()
        return
    if not _is_delayed(number, frame):
        raise Terminated("asked to stop (SIGTERM)")


def handle_interrupt(number: int, frame: Any) -> None:
    """Handle Ctrl-C as Python does, but not in the middle of an import.

    Raises:
        KeyboardInterrupt: Unless it is delayed.
    """
    if not _is_delayed(number, frame):
        signal.default_int_handler(number, frame)


def _is_delayed(number: int, frame: Any) -> bool:
    """Whether the signal comes again in a moment, because its exception would leave a lock of Python locked."""
    began = _delayed_since.setdefault(number, time.monotonic())
    if _may_hold_lock(frame) and time.monotonic() - began < _LONGEST_DELAY_SECONDS:
        _send_again(number)
        return True
    _delayed_since.pop(number, None)
    return False


def _may_hold_lock(frame: FrameType | None) -> bool:
    """Whether the interrupted code was called by Python's import system or its logging.

    The body of a module that is being imported is no such code: errors in it are expected.
    """
    while frame is not None and frame.f_code.co_name != "<module>":
        if frame.f_code.co_filename.startswith(_TAKES_LOCKS):
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    """Send this process a signal in a moment, from another thread, because this one is in the middle of something."""
    again = threading.Timer(_REPEAT_SECONDS, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def deliver_signals_safely() -> None:
    """Let no signal be lost, and none interrupt an import: called once, by the command line.

    A handler may run inside a finaliser or a callback of a library. What it raises there is printed and forgotten, and
    the command would go on as if nobody had asked it to stop. Such a signal is sent once more.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle_interrupt)
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        lost = unraisable.exc_type
        for kind, number in ((Terminated, signal.SIGTERM), (KeyboardInterrupt, signal.SIGINT)):
            if lost is not None and issubclass(lost, kind):
                _send_again(number)
                return
        before(unraisable)

    sys.unraisablehook = hook


def stop_behind(error: BaseException) -> BaseException | None:
    """The request to stop that an error hides; None if there is none.

    A handler may run inside a function written in C. What it raises there can come back as a SystemError, or as an
    error of the library that called it.
    """
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or each in seen:
            continue
        if isinstance(each, Interrupted | Terminated | KeyboardInterrupt):
            return each
        seen.append(each)
        waiting += [each.__cause__, each.__context__]
    return None


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

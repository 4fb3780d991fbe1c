"""Lines during long work, so that no command is silent for long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from side4video.core.units import format_duration
from side4video.terminal.output import print_text

LINE_EVERY_SECONDS = 10.0
"""Longest time without a line."""
_LOOK_EVERY = 0.1
"""Part of the longest silence after which it is looked at again."""


@contextmanager
def heartbeat(tick: Callable[[float], object], *, seconds: float = LINE_EVERY_SECONDS) -> Iterator[None]:
    """Call `tick` with the time (`time.monotonic`) again and again until the block ends, from a thread.

    It is called ten times in `seconds`, and has to find out itself whether there is anything to print.
    """
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(_LOOK_EVERY * seconds):
            tick(time.monotonic())

    thread = threading.Thread(target=beat, daemon=True, name="progress lines")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(seconds)


@contextmanager
def still_working(text: str, *, seconds: float = LINE_EVERY_SECONDS) -> Iterator[None]:
    """Print `text, 10 s so far` on stderr every so many seconds until the block ends; nothing if it is quick."""
    began = printed = time.monotonic()

    def tick(now: float) -> None:
        nonlocal printed
        if now - printed >= seconds:
            printed = now
            print_text(f"{text}, {format_duration(now - began)} so far", err=True)

    with heartbeat(tick, seconds=seconds):
        yield

"""A process in which nothing moves for too long says where it hangs, and ends.

A hung collective, driver or file system raises nothing. So whatever moves (a step, a batch of an evaluation, a word of
the narration) tells the watchdog; when it hears nothing for its time, all threads' stacks go to the log, somebody is
told why, and the process ends, so that whoever started it can start it again.
"""

import faulthandler
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.progress import TrainingProgress

log = logging.getLogger(__name__)

EXIT_CODE = 70
"""Of a process that hung (sysexits: internal software error)."""
FATAL_CALLBACK_SECONDS = 20.0
"""How long telling somebody may take: that may hang, too."""
HARD_LIMIT_FACTOR = 1.2
"""After so many times the limit the process ends even where no Python can run (a library that holds Python's lock)."""


class Watchdog:
    """Ends this process when nothing moved for so long; use it as a context manager."""

    def __init__(self, minutes: float, tell: Callable[[str], None]) -> None:
        """Watch.

        Args:
            minutes: The longest time without a sign of life; 0 watches nothing.
            tell: Gets the reason, before the process ends.
        """
        self.seconds, self._tell = 60 * minutes, tell
        self._moved = self._armed = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.heartbeat()
        if self.seconds:
            self._arm()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.seconds:
            self._thread.join()  # first: it may be about to arm once more
            faulthandler.cancel_dump_traceback_later()

    def heartbeat(self) -> None:
        """Say that something moves."""
        self._moved = time.monotonic()

    def _arm(self) -> None:
        self._armed = time.monotonic()
        seconds = HARD_LIMIT_FACTOR * self.seconds + FATAL_CALLBACK_SECONDS
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)

    def _watch(self) -> None:
        while not self._over.wait(min(5.0, self.seconds / 10)):
            if self._moved > self._armed:
                self._arm()
            if time.monotonic() - self._moved > self.seconds:
                self._end()

    def _end(self) -> None:
        reason = (
            f"no step, evaluation batch or message for {self.seconds / 60:g} min (cluster.step_timeout_minutes): "
            "the worker hung, and was ended; where it hung stands in its log"
        )
        log.error("%s; all threads:\n%s", reason, stacks())
        words = threading.Thread(target=self._tell, args=(reason,), daemon=True)
        words.start()
        words.join(FATAL_CALLBACK_SECONDS)
        logging.shutdown()
        os._exit(EXIT_CODE)


def stacks() -> str:
    """The stacks of all threads of this process."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


@dataclass(frozen=True)
class WatchedProgress:
    """A `TrainingProgress` whose every report is a heartbeat for the watchdog."""

    progress: TrainingProgress
    watchdog: Watchdog

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.report(phase, done, total, **details)

    def begin(self, steps: int, first_step: int) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.begin(steps, first_step)

    def after_step(self, info: StepInfo) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.after_step(info)

    def after_epoch(self, info: EpochInfo) -> Collection[str]:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        return self.progress.after_epoch(info)

    def end(self) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.end()


@dataclass(frozen=True)
class WatchedBatches:
    """Batches of an evaluation, each of which is a sign of life."""

    stream: Any
    watchdog: Watchdog

    def batches(self) -> Iterator[Any]:
        """The stream's batches."""
        for batch in self.stream.batches():
            self.watchdog.heartbeat()
            yield batch

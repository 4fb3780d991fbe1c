"""Ends a process that hangs.

A hung collective, driver or file system raises no error. So each step, evaluation batch and progress report sends the
watchdog a heartbeat. Without one for too long, it logs the stacks of all threads, reports the reason and ends the
process, so that Ray or the user can start it again.
"""

import faulthandler
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.progress import TrainingProgress

log = logging.getLogger(__name__)

EXIT_CODE = 70
"""Exit code of a process that hung (sysexits: internal software error)."""
FATAL_CALLBACK_SECONDS = 20.0
"""Time limit for reporting the reason, which may hang too."""
HARD_LIMIT_FACTOR = 1.2
"""After this multiple of the limit the process ends even if a library holds Python's global lock."""


class Watchdog:
    """Ends this process if it gets no heartbeat for too long. Use it as a context manager."""

    def __init__(self, minutes: float, on_fatal: Callable[[str], None]) -> None:
        """The watchdog starts with the `with` block.

        `minutes` is the longest time without a heartbeat; 0 disables it. `on_fatal` is called with the reason before
        the process ends.
        """
        self.seconds, self._on_fatal = 60 * minutes, on_fatal
        self._last_heartbeat = self._armed_at = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.heartbeat()
        if self.seconds:
            self._arm()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self.seconds:
            self._thread.join()  # before cancelling, because the thread may arm the timer once more
            faulthandler.cancel_dump_traceback_later()

    def heartbeat(self) -> None:
        """Restart the time limit."""
        self._last_heartbeat = time.monotonic()

    def _arm(self) -> None:
        self._armed_at = time.monotonic()
        seconds = HARD_LIMIT_FACTOR * self.seconds + FATAL_CALLBACK_SECONDS
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)

    def _watch(self) -> None:
        while not self._stopped.wait(min(5.0, self.seconds / 10)):
            if self._last_heartbeat > self._armed_at:
                self._arm()
            if time.monotonic() - self._last_heartbeat > self.seconds:
                self._exit()

    def _exit(self) -> None:
        reason = (
            f"no step, evaluation batch or message for {self.seconds / 60:g} min (cluster.step_timeout_minutes): "
            "the worker hung and was ended; its log has the stacks of all threads"
        )
        log.error("%s; all threads:\n%s", reason, stacks())
        thread = threading.Thread(target=self._on_fatal, args=(reason,), daemon=True)
        thread.start()
        thread.join(FATAL_CALLBACK_SECONDS)
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

    def after_epoch(self, info: EpochInfo) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.after_epoch(info)

    def end(self) -> None:
        """See `TrainingProgress`."""
        self.watchdog.heartbeat()
        self.progress.end()


@dataclass(frozen=True)
class WatchedBatches:
    """Evaluation batches, each of which is a heartbeat for the watchdog."""

    stream: Any
    watchdog: Watchdog

    def batches(self) -> Iterator[Any]:
        """The stream's batches."""
        for batch in self.stream.batches():
            self.watchdog.heartbeat()
            yield batch

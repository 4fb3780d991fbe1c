"""Keeps the faults of a sink away from a run: its errors, and its waiting."""

import logging
import queue
import threading
from collections.abc import Callable

from side4video.core.text import printable
from side4video.tracking.redaction import redact_text
from side4video.tracking.sinks.sink import Sink

log = logging.getLogger(__name__)

LIMIT_SECONDS = 30.0
"""Longest time that a run waits for a write. Starting a run in W&B takes seconds, other writes take milliseconds."""
FAILURE_PREFIX = "not all of this run is in "
"""Start of the notes that tell of a failure."""

Action = Callable[[Sink], None]
_Answer = queue.SimpleQueue[BaseException | None]


class Guard:
    """Calls a sink in a thread of its own. After its first error, or a write beyond the limit, it is left alone."""

    def __init__(self, sink: Sink, limit_seconds: float = LIMIT_SECONDS) -> None:
        self.sink, self.limit_seconds = sink, limit_seconds
        self.failure = ""
        """The note about the first failure; empty while there is none."""
        self._actions: queue.SimpleQueue[tuple[Action, _Answer]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, action: Action) -> None:
        """Let the sink do something, and wait until it is done. Never raises."""
        with self._lock:
            if self.failure:
                return
            if self._thread is None:
                # A daemon: a thread that hangs must not keep the process alive.
                self._thread = threading.Thread(target=self._work, name=f"sink-{self.sink.title}", daemon=True)
                self._thread.start()
            answer: _Answer = queue.SimpleQueue()
            self._actions.put((action, answer))
            try:
                error = answer.get(timeout=self.limit_seconds)
            except queue.Empty:
                error = TimeoutError(f"a write took longer than {self.limit_seconds:g} s")
            if error is not None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        reason = printable(redact_text(" ".join(str(error).split())))[:300] or type(error).__name__
        self.failure = f"{FAILURE_PREFIX}{self.sink.title}: {reason}"
        log.warning("%s; the run goes on without it", self.failure)

    def _work(self) -> None:
        while True:
            action, answer = self._actions.get()
            try:
                action(self.sink)
                answer.put(None)
            except BaseException as error:  # whatever a library raises here must not end the run
                answer.put(error)

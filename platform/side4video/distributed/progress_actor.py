"""A small Ray actor between the first worker and the driver: it passes on progress, failures and requests to stop."""

import threading
from typing import Any

from side4video.core import signals
from side4video.core.progress import Progress

MAX_MESSAGES = 200


class ProgressActor:
    """Holds the newest progress messages until the driver reads them, and how the workers failed."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._failure: Exception | None = None
        self._stop_requested = False
        self._fatal_reason = ""

    def post(self, message: dict[str, Any]) -> None:
        """Add a message; the oldest are dropped."""
        self._messages = [*self._messages[1 - MAX_MESSAGES :], message]

    def take(self) -> list[dict[str, Any]]:
        """All messages since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def fail(self, failure: Exception) -> None:
        """Record an error that a retry cannot mend, such as wrong data; the first one counts."""
        self._failure = self._failure or failure

    def failure(self) -> Exception | None:
        """The error that a retry cannot mend, if a worker met one."""
        return self._failure

    def request_stop(self) -> None:
        """Ask the workers to save a checkpoint and end."""
        self._stop_requested = True

    def stop_requested(self) -> bool:
        """Whether the workers are asked to end."""
        return self._stop_requested

    def set_fatal_reason(self, reason: str) -> None:
        """Record why a worker's process is about to end; it cannot say so itself any more."""
        self._fatal_reason = reason

    def fatal_reason(self) -> str:
        """Why the last such process ended; empty if none did."""
        return self._fatal_reason


class ProgressReader:
    """Reads the actor in a thread and passes each message on, until its `with` block ends.

    When this process gets a SIGTERM, the thread asks the workers to stop.
    """

    def __init__(self, ray: Any, progress_actor: Any, progress: Progress) -> None:
        self._ray, self._actor, self._progress = ray, progress_actor, progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> "ProgressReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        has_requested = False
        while True:
            is_last = self._done.wait(0.5)
            try:
                if signals.stop_requested() and not has_requested:
                    self._actor.request_stop.remote()
                    has_requested = True
                messages = self._ray.get(self._actor.take.remote(), timeout=5)
            except TimeoutError:  # a busy machine; the actor still has the messages
                messages = []
            except self._ray.exceptions.RayError:
                return  # progress is a convenience: the run continues without it
            for message in messages:
                self._progress.report(**message)
            if is_last:
                return

"""How far a run is, where the driver can see it: a small actor between the first worker and the terminal."""

import threading
from collections.abc import Callable
from typing import Any

from side4video.core import signals


class ProgressActor:
    """Holds the newest messages until somebody reads them."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._mistake: Exception | None = None
        self._is_leaving = False
        self._last_words = ""

    def post(self, message: dict[str, Any]) -> None:
        """Add a message."""
        self._messages = [*self._messages[-199:], message]

    def take(self) -> list[dict[str, Any]]:
        """All messages since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def give_up(self, mistake: Exception) -> None:
        """Say that no retry can help: data or documents are wrong."""
        self._mistake = self._mistake or mistake

    def mistake(self) -> Exception | None:
        """What a worker gave up for, if one did."""
        return self._mistake

    def leave(self) -> None:
        """Say that the run is told to end: the workers are to save and leave."""
        self._is_leaving = True

    def is_leaving(self) -> bool:
        """Whether the run is told to end."""
        return self._is_leaving

    def say_last(self, words: str) -> None:
        """Say why a worker's process ends, which itself cannot any more."""
        self._last_words = words

    def on_fatal(self) -> str:
        """Why the last worker's process ended that said it; empty if none did."""
        return self._last_words


class ProgressReader:
    """Reads a board in the background and shows each message; ends with its `with` block.

    When this process is told to end, the reader tells the board.
    """

    def __init__(self, ray: Any, progress_actor: Any, show: Callable[[dict[str, Any]], None]) -> None:
        self._ray, self._board, self._show = ray, progress_actor, show
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> "ProgressReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        is_told = False
        while True:
            last = self._done.wait(0.5)
            try:
                if signals.stop_requested() and not is_told:
                    self._board.leave.remote()
                    is_told = True
                messages = self._ray.get(self._board.take.remote(), timeout=5)
            except TimeoutError:  # a busy machine; the messages are still there
                messages = []
            except self._ray.exceptions.RayError:
                # The board is a convenience: a run goes on without it.
                return
            for message in messages:
                self._show(message)
            if last:
                return

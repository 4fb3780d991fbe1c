"""How far a run is, where the driver can see it: a small actor between the first worker and the terminal."""

import threading
from collections.abc import Callable
from typing import Any


class Board:
    """Holds the newest messages until somebody reads them."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._mistake: Exception | None = None

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


class BoardReader:
    """Reads a board in the background and shows each message; ends with its `with` block."""

    def __init__(self, ray: Any, board: Any, show: Callable[[dict[str, Any]], None]) -> None:
        self._ray, self._board, self._show = ray, board, show
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> "BoardReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        while True:
            last = self._done.wait(0.5)
            try:
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

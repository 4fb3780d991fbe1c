"""How far long work is: the one protocol that terminals, logs and Ray actors implement."""

from collections.abc import Callable
from typing import Any, Protocol


class Progress(Protocol):
    """Receives reports of long work."""

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Report what is being done.

        Args:
            phase: Such as `planning` or `training`.
            done: Steps, clips or files that are done.
            total: How many there are; 0 if nobody knows.
            details: What a phase says beside it, such as `losses` and `seconds_left` of `training`.
        """
        ...


class _Silent:
    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        pass


SILENT: Progress = _Silent()
"""Discards all reports."""


class MessageProgress:
    """Passes each report on as one dictionary: `{"phase": ..., "done": ..., "total": ..., **details}`."""

    def __init__(self, send: Callable[[dict[str, Any]], object]) -> None:
        self._send = send

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `Progress`."""
        self._send({"phase": phase, "done": done, "total": total, **details})

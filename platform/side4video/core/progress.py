"""The protocol for progress of long work; terminals, logs and Ray actors implement it."""

from collections.abc import Callable
from typing import Any, Protocol


class Progress(Protocol):
    """Receives progress reports."""

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Report the current phase.

        Args:
            phase: Such as `planning` or `training`.
            done: Number of finished steps, clips or files.
            total: Their total; 0 if unknown.
            details: Further values of a phase, such as `losses` and `seconds_left` of `training`.
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

"""What is to be finished when a command is told to end, and how its end is recorded."""

from typing import Any

from side4video.core import signals
from side4video.core.errors import Interrupted
from side4video.core.progress import Progress


def is_interruption(error: BaseException) -> bool:
    """Whether a run was interrupted and can be resumed; else it failed."""
    return isinstance(error, Interrupted) or not isinstance(error, Exception)


class StopSignalProgress:
    """Passes reports on, and tells `core.signals` what is to be finished after SIGTERM.

    That is a step of the training with its checkpoint, and the delivery of results. Several packs may be at it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._busy: set[str] = set()

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `Progress`."""
        pack = str(details.get("pack", ""))
        if phase in ("training", "storing the results"):
            self._busy.add(pack)
        elif phase in ("creating the run", "creating the runs", "failed", "done"):
            self._busy.discard(pack)
        signals.set_busy(bool(self._busy))
        self._progress.report(phase, done, total, **details)

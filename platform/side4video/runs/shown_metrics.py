"""Leaves metrics that say nothing out of the reports of a training."""

from collections.abc import Collection
from typing import Any

from side4video.core.progress import Progress


class ShownMetrics:
    """Passes reports on (`core.progress.Progress`), evaluations without some metrics."""

    def __init__(self, progress: Progress, left_out: Collection[str]) -> None:
        """`left_out` are names, such as `top5`; see `spec.chance.reached_by_all`."""
        self._progress, self._left_out = progress, left_out

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `Progress`."""
        if phase == "evaluated":
            details["metrics"] = {
                student: {name: value for name, value in metrics.items() if name not in self._left_out}
                for student, metrics in details["metrics"].items()
            }
        self._progress.report(phase, done, total, **details)

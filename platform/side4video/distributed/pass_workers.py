"""An endless pass on Ray: what its workers need, and the callback that logs it in Ray Train's controller."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, UserCallback

from side4video.arm_search.document import SearchDocument
from side4video.arm_search.shared_search import SharedSearch, leaves_when_over, records_in
from side4video.core.metric import Metric
from side4video.engine.epoch_callback import Report
from side4video.run import RunContext
from side4video.run_with_seats import run_with_seats
from side4video.runs.pass_logger import PassLogger
from side4video.runs.shared_logger import SharedPassLogger
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import epoch_metric


@dataclass(frozen=True)
class PassOnWorkers:
    """A pass, for its workers."""

    document: SearchDocument
    deadline: float | None
    """Time (seconds since 1970) after which nobody joins."""
    member: str = ""
    """On a shared pass: the id of the run of the sweep whose command runs it."""

    def train(self, base: Experiment, context: RunContext, results_actor: Any) -> None:
        """Train on this worker; the first one decides who sits where, and tells Ray Tune's trials."""
        if not context.process.is_first:
            run_with_seats(base, None, context)
            return
        metric = str(self.document.built.spec.metric)
        told = replace(context, report=_Told(context.report, results_actor, metric))
        if not self.member:
            search = self.document.search(requests=lambda: _requests(results_actor), is_closed=self._is_late)
            run_with_seats(base, search, told)
            return
        shared = SharedSearch(self.document.built.spec.seats, self.member, lambda: _requests(results_actor))
        run_with_seats(base, shared, replace(told, stop_request=leaves_when_over(shared, told.stop_request)))

    def _is_late(self) -> bool:
        return self.deadline is not None and time.time() > self.deadline


def _requests(results_actor: Any) -> Any:
    return ray.get(results_actor.requests.remote())


@dataclass(frozen=True)
class _Told:
    """Passes reports on, and tells the results actor, from which virtual trials take the results of their arms."""

    report: Any
    results_actor: Any
    metric: str

    def __call__(self, report: Report) -> None:
        """Report."""
        changes = report.changes
        names = [each.name for each in records_in(changes.get("arms", {}))]
        values: dict[str, Mapping[str, float]] = {}
        for name, latest in report.latest.items():
            key, epoch = epoch_metric(self.metric, latest), epoch_metric("eval/epoch", latest)
            if key in latest and epoch in latest:
                values[name] = {"epoch": latest[epoch], self.metric: latest[key]}
        ends = {name: each["state"] for name, each in changes.get("ended", {}).items()}
        ray.get(self.results_actor.tell.remote(names, values, list(changes.get("paused", ())), ends))
        self.report(report)


class PassLoggerCallback(UserCallback):
    """Logs a pass. Ray calls it in the controller when all workers reported and the checkpoint is stored."""

    def __init__(self, logger: PassLogger | SharedPassLogger) -> None:
        self.logger = logger

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002 - Ray's signature
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,
    ) -> None:
        """Log the first worker's metrics, and open and close the runs of arms."""
        first = metrics[0]
        series = {name: [Metric(*each) for each in values] for name, values in first["points"].items()}
        notes, changes = tuple(first["notes"]), first.get("changes", {})
        report = Report(first["epoch"], first["next_step"], first["is_last"], series, {}, None, notes, changes)
        is_local = checkpoint is not None and "://" not in checkpoint.path
        self.logger.take(report, Path(checkpoint.path) if checkpoint is not None and is_local else None)
        self.logger.hand_over()

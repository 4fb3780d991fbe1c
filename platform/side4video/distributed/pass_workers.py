"""An endless pass on Ray: what its workers need, and the callback that logs it in Ray Train's controller."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, UserCallback

from side4video.arm_search.records import arm_from_json
from side4video.arm_search.search import ArmSearch
from side4video.core.metric import Metric
from side4video.engine.epoch_callback import Report
from side4video.planning.packs import cached_planner
from side4video.run import RunContext
from side4video.run_with_seats import run_with_seats
from side4video.runs.endless_pass import fits_memory
from side4video.runs.pass_logger import PassLogger
from side4video.spec.arm import Sweep
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tasks.metrics import epoch_metric


@dataclass(frozen=True)
class PassOnWorkers:
    """A pass as JSON values: plug-ins are known on a worker only after they were loaded there."""

    sweep: Mapping[str, Any]
    base: Mapping[str, Any]
    source: str
    arms: Sequence[Mapping[str, Any]]
    """Arms that wait from the start."""
    epochs: int
    classes: int
    deadline: float | None
    """Time (seconds since 1970) after which nobody joins."""

    def train(self, base: Experiment, context: RunContext, results_actor: Any) -> None:
        """Train on this worker; the first one decides who sits where, and tells Ray Tune's trials."""
        if not context.process.is_first:
            run_with_seats(base, None, context)
            return
        told = replace(context, report=_Told(context.report, results_actor, self.sweep["metric"]))
        run_with_seats(base, self._search(results_actor), told)

    def _search(self, results_actor: Any) -> ArmSearch:
        spec = parse_document(SweepSpec, dict(self.sweep), source=self.source)
        sweep = Sweep(spec, self.base, self.source, ())
        return ArmSearch(
            sweep,
            [arm_from_json(each) for each in self.arms],
            spec.seats,
            self.epochs,
            fits=fits_memory(cached_planner(self.classes), spec.limits.memory_gib),
            requests=lambda: ray.get(results_actor.requests.remote()),
            is_closed=lambda: self.deadline is not None and time.time() > self.deadline,
        )


@dataclass(frozen=True)
class _Told:
    """Passes reports on, and tells the results actor, from which virtual trials take the results of their arms."""

    report: Any
    results_actor: Any
    metric: str

    def __call__(self, report: Report) -> None:
        """Report."""
        changes = report.changes
        names = [each["name"] for each in changes.get("arms", {}).get("records", ())]
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

    def __init__(self, logger: PassLogger) -> None:
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

"""The result of a run: of one that was trained now, or of one that is stored."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from side4video.core.errors import Side4VideoError
from side4video.core.units import format_duration
from side4video.tasks.metrics import summary
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text
from side4video.tracking.tags import NOTES_TAG, STATE_TAG


@dataclass(frozen=True, repr=False)
class RunResult:
    """The result of a run. It is printed as JSON with the field names as keys."""

    run_id: str
    name: str
    state: str
    metrics: dict[str, float]
    memory: dict[str, float]
    time: dict[str, float]
    plan: dict[str, Any]
    wall_s: float
    """Seconds from the start of the run to its end, as its store has them."""
    trainable_parameters: int
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Events such as interruptions."""

    def __repr__(self) -> str:
        """Its name, state, main metrics and time, in a line."""
        values = [f"{metric.title} {metric.text(self.metrics[key])}" for key, metric in summary(self.metrics).items()]
        spent = format_duration(self.wall_s)
        return f"<run {self.run_id[:8]} ({self.name}): {' · '.join([self.state, *values, spent])}>"

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def run_seconds(run: StoredRun) -> float:
    """The time of a run for people, wherever it is printed: from its start to its end, in seconds; 0 while it runs."""
    return max(0, run.end_ms - run.start_ms) / 1000


def stored_seconds(store: RunStore, run_id: str, *, default: float) -> float:
    """`run_seconds` of a run, or `default` if the store does not answer, or has no end of the run yet."""
    try:
        return run_seconds(store.get(run_id)) or default
    except Side4VideoError:
        return default


def stored_result(store: RunStore, run: StoredRun) -> RunResult:
    """The result of a finished run, as it was stored."""
    times, memory = _below(run, "time/mean_"), _below(run, "memory/")
    notes = [note for note in run.tags.get(NOTES_TAG, "").split("\n") if note]
    return RunResult(
        run_id=run.run_id,
        name=run.name,
        state=run.tags.get(STATE_TAG, "finished"),
        metrics=dict(run.metrics),
        memory=memory,
        time=times,
        plan=json.loads(artifact_text(store, run.run_id, "plan.json", default="{}")),
        wall_s=run_seconds(run),
        trainable_parameters=int(run.metrics.get("model/trainable_parameters", 0)),
        broken_clips=json.loads(artifact_text(store, run.run_id, "broken_clips.json", default="[]")),
        notes=notes,
    )


def _below(run: StoredRun, prefix: str) -> dict[str, float]:
    return {key.removeprefix(prefix): value for key, value in run.metrics.items() if key.startswith(prefix)}

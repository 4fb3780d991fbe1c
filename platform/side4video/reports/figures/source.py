"""Where the numbers of a figure are from: runs, data set, number of videos, date."""

from collections.abc import Sequence
from datetime import UTC, datetime

from side4video.tracking.run_store import StoredRun

MAX_NAMED_RUNS = 3
"""Of more runs than this, the number is said."""


def source_of(runs: Sequence[StoredRun], *, name: str = "", videos: int = 0) -> str:
    """One line about the runs of a figure.

    `name` is what they are called together, such as a sweep; `videos` is the number of videos that were drawn, by
    default that of the runs' evaluation.
    """
    if not runs:
        return name and f"Source: {name}."
    named = [f"{run.name} ({run.run_id[:8]})" for run in runs[:MAX_NAMED_RUNS]]
    if not name:
        name = ", ".join(named) + (f" and {len(runs) - len(named)} other runs" if len(runs) > len(named) else "")
    counts = sorted({videos} if videos else {int(run.metrics["eval/videos"]) for run in runs if _is_evaluated(run)})
    parts = [
        name,
        "data " + ", ".join(sets) if (sets := sorted({_data_of(run) for run in runs} - {""})) else "",
        f"{_span([f'{count:,}' for count in counts])} test videos" if counts else "",
        _span(sorted({_day(run) for run in runs} - {""})),
    ]
    return f"Source: {' · '.join(filter(None, parts))}."


def _is_evaluated(run: StoredRun) -> bool:
    return run.metrics.get("eval/videos", 0) > 0


def _data_of(run: StoredRun) -> str:
    return run.params.get("data.dataset.kind", run.tags.get("dataset", ""))


def _day(run: StoredRun) -> str:
    """The day on which a run ended, or began if it still runs; days are UTC's, the same on every machine."""
    moment = run.end_ms or run.start_ms
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d") if moment else ""


def _span(values: Sequence[str]) -> str:
    return f"{values[0]} to {values[-1]}" if len(values) > 1 else "".join(values)

"""The results of a sweep's arms, and statistics of them.

An arm is one setting, with a run for each seed. Fractions stay fractions here; only printed tables show percent.
The finished runs of an arm count. If none finished, the runs that were stopped early count, and the arm is marked.
Runs that diverged, failed or were refused have no value.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from side4video.core.text import printable
from side4video.tasks.metrics import MAIN_METRICS

if TYPE_CHECKING:
    from side4video.reports.label_significance import VideoScores
    from side4video.reports.significance import Comparison

Mode = Literal["max", "min"]
"""Whether a higher or a lower value of the metric is better."""

METRIC = MAIN_METRICS[0]
MEASURED_MEMORY = "memory/peak_gib"
PLANNED_MEMORY = "plan/peak_memory_gib"
RESERVED_MEMORY = "memory/reserved_gib"
"""Recorded with a GPU only."""


@dataclass(frozen=True)
class SeedResult:
    """One trained arm with one seed."""

    run_id: str
    seed: int
    state: str
    """`finished`, `stopped` (early), `diverged`, `failed` or `refused` (not started)."""
    metrics: Mapping[str, float]
    """By name (`area/name_unit`)."""
    correct: Mapping[int, bool] = field(default_factory=dict)
    """By index of the test video: whether the prediction is correct; empty if unknown."""
    scores: "VideoScores | None" = None
    """The scores of several labels a video, if arms are compared by their mean average precision."""


@dataclass(frozen=True)
class Spread:
    """Mean and deviation over seeds."""

    mean: float
    """NaN without values."""
    deviation: float
    """Sample standard deviation (n - 1); NaN for fewer than two values."""
    count: int


NO_VALUES = Spread(math.nan, math.nan, 0)


@dataclass(frozen=True)
class ArmResult:
    """One row of the table: an arm with all its seeds."""

    table: str
    """Name of the group, such as `9b`; empty for a grid."""
    label: str
    swept: Mapping[str, Any]
    """Short field name to value, the same keys in every row."""
    runs: tuple[SeedResult, ...]
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's values: `top1` (a fraction), `memory_gb` (as printed)."""
    is_reference: bool = False
    """Whether other arms are compared with this one."""
    # Set by `comparison.compare_rows`.
    value: Spread = NO_VALUES
    """The metric over the seeds that count."""
    best_epoch: Spread = NO_VALUES
    """The metric at the best epoch of each seed; without values if unknown."""
    is_reference_here: bool = False
    """Whether it is the reference of its table, or the same arm in another row."""
    difference: float = math.nan
    """Difference to the reference: of the paired predictions if there is a comparison, else of the means. NaN if one of
    the two is not complete."""
    comparison: "Comparison | None" = None
    is_best: bool = False
    """Whether it is the best of its table. Arms that were stopped early or lost a seed are never the best."""


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation of the finite values."""
    finite = [float(value) for value in values if math.isfinite(value)]
    mean = statistics.fmean(finite) if finite else math.nan
    return Spread(mean, statistics.stdev(finite) if len(finite) > 1 else math.nan, len(finite))


def counted_runs(row: ArmResult) -> tuple[SeedResult, ...]:
    """The finished runs, or the stopped ones if none finished."""
    finished = tuple(run for run in row.runs if run.state == "finished")
    return finished or tuple(run for run in row.runs if run.state == "stopped")


def is_complete(row: ArmResult) -> bool:
    """Whether all seeds finished. Only such an arm can be the best, or be tested.

    If seeds failed, the mean over the others would be biased.
    """
    return bool(row.runs) and all(run.state == "finished" for run in row.runs)


def metric_spread(row: ArmResult, metric: str) -> Spread:
    """The metric over the counted runs."""
    return spread(run.metrics[metric] for run in counted_runs(row) if metric in run.metrics)


def state_text(row: ArmResult) -> str:
    """The state of all seeds, or counts such as `2 finished, 1 diverged`."""
    counts = Counter(run.state for run in row.runs)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "not run"


def best_rows(rows: Sequence[ArmResult], metric: str, *, mode: Mode) -> set[int]:
    """Indices of the complete rows with the best mean; several if they are equal."""
    means = {index: metric_spread(row, metric).mean for index, row in enumerate(rows) if is_complete(row)}
    means = {index: mean for index, mean in means.items() if math.isfinite(mean)}
    best = (max if mode == "max" else min)(means.values(), default=math.nan)
    return {index for index, mean in means.items() if mean == best}


SUMMARY = ("eval/", "best/", "memory/", "model/", "plan/")
"""Metrics of the best arm that a sweep's run repeats."""


def best_metrics(rows: Sequence[ArmResult], *, metric: str, mode: Mode) -> dict[str, float]:
    """The metrics of the best arm of all tables, as means over its seeds; empty if no arm is complete."""
    best = [rows[index] for index in sorted(best_rows(rows, metric, mode=mode))][:1]
    names = dict.fromkeys(name for arm in best for run in counted_runs(arm) for name in run.metrics)
    means = {name: metric_spread(best[0], name).mean for name in names if name.startswith(SUMMARY)}
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def reference_of(row: ArmResult, rows: Sequence[ArmResult]) -> ArmResult | None:
    """The reference of the row's table, or else the first reference of all; None without one."""
    references = [each for each in rows if each.is_reference]
    return next((each for each in references if each.table == row.table), references[0] if references else None)


def run_ids(row: ArmResult) -> tuple[str, ...]:
    """The sorted ids of an arm's runs; two rows with the same ids are the same arm."""
    return tuple(sorted(run.run_id for run in row.runs))


def distinct_arms(rows: Sequence[ArmResult]) -> list[ArmResult]:
    """Arms without duplicates, in order. An arm is a reference if it is one in any table."""
    arms: dict[object, ArmResult] = {}
    for index, row in enumerate(rows):
        # Without runs, rows cannot be identified as the same arm.
        identity = run_ids(row) or index
        if identity not in arms or (row.is_reference and not arms[identity].is_reference):
            arms[identity] = row
    return list(arms.values())


def memory_key(rows: Sequence[ArmResult]) -> str:
    """The metric of the memory column: the measured peak if all arms have it, else the planned one."""
    counted = [runs for row in rows if (runs := counted_runs(row))]
    has_all = bool(counted) and all(any(MEASURED_MEMORY in run.metrics for run in runs) for runs in counted)
    return MEASURED_MEMORY if has_all else PLANNED_MEMORY


def any_run_mean(row: ArmResult, key: str) -> float:
    """Mean over the counted runs, or over all runs if none counts (plans need no training). NaN if missing."""
    return spread(run.metrics[key] for run in counted_runs(row) or row.runs if key in run.metrics).mean


def varying_fields(rows: Sequence[ArmResult]) -> list[str]:
    """The swept fields that differ between rows, in order."""
    names = list(dict.fromkeys(name for row in rows for name in row.swept))
    return [name for name in names if len({exact_text(row.swept.get(name)) for row in rows}) > 1]


# ---- formatting


def exact_text(value: Any) -> str:
    """A swept value without loss: strings as they are, other values as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def short_text(value: Any) -> str:
    """A swept value for display: floats with four digits, None as `none`."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else printable(exact_text(value))

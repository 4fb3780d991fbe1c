"""The figures of a sweep's arms as plain values, and what is read off them before anything is printed.

An arm is one setting; it has a run for each seed. Fractions are fractions here; percent appears in print only.
Of an arm, the finished runs count. Where none finished, the ones that were stopped early do, and the arm is marked.
What diverged, failed or was refused has no value.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from side4video.tasks.metrics import MAIN_METRICS

if TYPE_CHECKING:
    from side4video.reports.significance import Comparison

Mode = Literal["max", "min"]
"""Whether a higher or a lower value of the metric is better."""

METRIC = MAIN_METRICS[0]
MEASURED_MEMORY = "memory/peak_gib"
PLANNED_MEMORY = "plan/peak_memory_gib"


@dataclass(frozen=True)
class SeedResult:
    """One trained arm with one seed."""

    run_id: str
    seed: int
    state: str
    """`finished`, `stopped` (early), `diverged`, `failed` or `refused` (never begun)."""
    metrics: Mapping[str, float]
    """By name (`area/name_unit`)."""
    correct: Mapping[int, bool] = field(default_factory=dict)
    """By video index: whether top-1 was right on the held-out video; empty if unknown."""


@dataclass(frozen=True)
class Spread:
    """A mean over seeds."""

    mean: float
    """NaN without a value."""
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
    """The paper's figures beside it: `top1` (a fraction), `memory_gb` (as printed there)."""
    is_reference: bool = False
    """Whether it is the arm that others are compared with."""

    # Filled by `comparison.compare_rows`.
    value: Spread = NO_VALUES
    """The metric over the seeds that count."""
    best_epoch: Spread = NO_VALUES
    """The same at the best epoch of each seed; of no values if it is not known."""
    is_reference_here: bool = False
    """Whether it is the reference of its own table, or the same arm once more."""
    difference: float = math.nan
    """To the reference: of the paired predictions if there is a comparison, else of the means. NaN if one of the two is
    not complete."""
    comparison: "Comparison | None" = None
    is_best: bool = False
    """Best of its table; never an arm that was stopped early or lost a seed."""


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation of the values that are finite."""
    kept = [float(value) for value in values if math.isfinite(value)]
    mean = statistics.fmean(kept) if kept else math.nan
    return Spread(mean, statistics.stdev(kept) if len(kept) > 1 else math.nan, len(kept))


def counted_runs(row: ArmResult) -> tuple[SeedResult, ...]:
    """The finished runs; the stopped ones where none finished."""
    finished = tuple(run for run in row.runs if run.state == "finished")
    return finished or tuple(run for run in row.runs if run.state == "stopped")


def is_complete(row: ArmResult) -> bool:
    """Whether every seed was trained to the end. Only such an arm can be the best, or be tested.

    The mean of an arm that lost a seed is a mean over survivors.
    """
    return bool(row.runs) and all(run.state == "finished" for run in row.runs)


def metric_spread(row: ArmResult, metric: str) -> Spread:
    """The metric over the seeds that count."""
    return spread(run.metrics[metric] for run in counted_runs(row) if metric in run.metrics)


def state_text(row: ArmResult) -> str:
    """`finished`, or how many seeds ended how: `2 finished, 1 diverged`."""
    counts = Counter(run.state for run in row.runs)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "not run"


def best_rows(rows: Sequence[ArmResult], metric: str, *, mode: Mode) -> set[int]:
    """Places of the rows with the best mean among the complete ones; several if they are equal."""
    means = {place: metric_spread(row, metric).mean for place, row in enumerate(rows) if is_complete(row)}
    means = {place: mean for place, mean in means.items() if math.isfinite(mean)}
    best = (max if mode == "max" else min)(means.values(), default=math.nan)
    return {place for place, mean in means.items() if mean == best}


def reference_of(row: ArmResult, rows: Sequence[ArmResult]) -> ArmResult | None:
    """What a row is compared with: the reference of its own table, or else the first of all; None without one."""
    references = [each for each in rows if each.is_reference]
    return next((each for each in references if each.table == row.table), references[0] if references else None)


def run_ids(row: ArmResult) -> tuple[str, ...]:
    """The ids of an arm's runs, sorted: what makes two rows the same arm."""
    return tuple(sorted(run.run_id for run in row.runs))


def distinct_arms(rows: Sequence[ArmResult]) -> list[ArmResult]:
    """Each arm once, in order, however many tables it stands in. It is a reference if it is one anywhere."""
    arms: dict[object, ArmResult] = {}
    for place, row in enumerate(rows):
        # Without runs nothing says that two rows are the same arm.
        known = run_ids(row) or place
        if known not in arms or (row.is_reference and not arms[known].is_reference):
            arms[known] = row
    return list(arms.values())


def memory_key(rows: Sequence[ArmResult]) -> str:
    """The measured peak if all arms that count have it, or else the planned one: a column means one thing."""
    counted = [runs for row in rows if (runs := counted_runs(row))]
    has_all = bool(counted) and all(any(MEASURED_MEMORY in run.metrics for run in runs) for runs in counted)
    return MEASURED_MEMORY if has_all else PLANNED_MEMORY


def any_run_mean(row: ArmResult, key: str) -> float:
    """Mean over the seeds that count, or over all where none does: a plan holds for what never ran. NaN if missing."""
    return spread(run.metrics[key] for run in counted_runs(row) or row.runs if key in run.metrics).mean


def varying_fields(rows: Sequence[ArmResult]) -> list[str]:
    """The swept fields that do not have the same value in all rows, in order."""
    names = list(dict.fromkeys(name for row in rows for name in row.swept))
    return [name for name in names if len({exact_text(row.swept.get(name)) for row in rows}) > 1]


# ---- how values are written


def exact_text(value: Any) -> str:
    """A swept value without loss: a string as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def short_text(value: Any) -> str:
    """A swept value for people: four figures of a float, nothing as `none`."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else exact_text(value)

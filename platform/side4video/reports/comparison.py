"""Compares the arms of a sweep with the reference of their table, with significance tests.

There is one row per arm, in the given order; an arm in several tables has a row in each. Values here and in the CSV are
raw (fractions, GiB, seconds); `columns` formats them.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from side4video.core.csv_cells import text_cell
from side4video.core.plugin import plugin_metrics
from side4video.core.text import sentence_start
from side4video.reports.arms import (
    MEASURED_MEMORY,
    METRIC,
    PLANNED_MEMORY,
    RESERVED_MEMORY,
    ArmResult,
    Mode,
    any_run_mean,
    best_rows,
    counted_runs,
    exact_text,
    is_complete,
    memory_key,
    metric_spread,
    reference_of,
    run_ids,
    spread,
    state_text,
)
from side4video.reports.label_significance import MAP_DRAWS, compare_labels, map_of
from side4video.reports.significance import DRAWS, LEVEL, Comparison, adjust, compare
from side4video.tasks.metrics import METRICS, is_of_head, metric_title

TRAINED = "model/trainable_parameters"
ALONE = "time/mean_alone_step_s"


@dataclass(frozen=True)
class ComparisonTable:
    """The compared arms and the metric."""

    metric: str
    mode: Mode
    arms: tuple[ArmResult, ...]
    memory: str
    """The metric of the memory column: measured if all arms have it, else planned."""
    mismatched: tuple[str, ...]
    """Labels of arms whose predictions do not match the metric, so that they were not tested."""

    @property
    def is_testable(self) -> bool:
        """Whether the metric may be the share of videos that are classified correctly."""
        return _counts_videos(self.metric)


def compare_rows(rows: Sequence[ArmResult], *, metric: str = METRIC, mode: Mode = "max") -> ComparisonTable:
    """The comparison table of these arms.

    Each arm is compared with the reference of its `table`, or with the first reference of all if its table has none.
    Predictions are used only if their fraction of correct videos equals the metric to half a video: those of the last
    epoch do not belong to `best/top1` or `eval/top5`. P-values are corrected by Holm's method within each `table`.
    """
    found: dict[int, Comparison | None] = {}
    best: set[int] = set()
    mismatched = {
        index for index, row in enumerate(rows) if _counts_videos(metric) and not predictions_fit(row, metric)
    }
    for name in dict.fromkeys(row.table for row in rows):
        indices = [index for index, row in enumerate(rows) if row.table == name]
        best |= {indices[each] for each in best_rows([rows[index] for index in indices], metric, mode=mode)}
        made = [_comparison(rows[index], rows, metric=metric) for index in indices]
        found |= dict(zip(indices, adjust(made), strict=True))
    return ComparisonTable(
        metric=metric,
        mode=mode,
        arms=tuple(
            _compared(row, rows, metric=metric, comparison=found[index], is_best=index in best)
            for index, row in enumerate(rows)
        ),
        memory=memory_key(rows),
        mismatched=tuple(dict.fromkeys(rows[index].label for index in sorted(mismatched))),
    )


def _counts_videos(metric: str) -> bool:
    """Whether a metric may be a share of right answers, or the mAP that the bootstrap computes.

    What a plug-in computes is neither, like a loss; nor is a mean over classes of several heads.
    """
    name = metric.rpartition("/")[2]
    if name.endswith("class_recall5") or name == "map_micro":
        return False
    own = any(name == each.name or name.startswith(f"{each.name}_") for each in METRICS) or is_of_head(metric)
    return (own or name.startswith("recall_at_")) and name not in plugin_metrics()


def predictions_fit(row: ArmResult, metric: str) -> bool:
    """Whether the predictions of each finished run match the metric to half a video."""
    for run in row.runs:
        if run.state != "finished" or not (run.correct or run.scores):
            continue
        share = map_of(run) if run.scores else sum(map(bool, run.correct.values())) / len(run.correct)
        videos = len(run.scores.indices_N) if run.scores else len(run.correct)
        if not abs(share - run.metrics.get(metric, math.nan)) <= 0.5 / videos:
            return False
    return True


def _is_reference(row: ArmResult, reference: ArmResult | None) -> bool:
    """Whether the row is the reference, or the same arm in another row."""
    return row is reference or (reference is not None and bool(row.runs) and run_ids(row) == run_ids(reference))


def _comparison(row: ArmResult, rows: Sequence[ArmResult], *, metric: str) -> Comparison | None:
    reference = reference_of(row, rows)
    if reference is None or _is_reference(row, reference) or not (is_complete(row) and is_complete(reference)):
        return None
    if not (_counts_videos(metric) and predictions_fit(row, metric) and predictions_fit(reference, metric)):
        return None
    return compare_labels(reference, row) if any(run.scores for run in row.runs) else compare(reference, row)


def _compared(
    row: ArmResult, rows: Sequence[ArmResult], *, metric: str, comparison: Comparison | None, is_best: bool
) -> ArmResult:
    reference = reference_of(row, rows)
    value = metric_spread(row, metric)
    difference = math.nan
    if comparison is not None:
        difference = comparison.difference
    elif reference is not None and is_complete(row) and is_complete(reference):
        difference = value.mean - metric_spread(reference, metric).mean
    at_best = metric.replace("eval/", "best/", 1)
    return replace(
        row,
        value=value,
        best_epoch=metric_spread(row, at_best) if at_best != metric else spread(()),
        is_reference_here=_is_reference(row, reference),
        difference=difference,
        comparison=comparison,
        is_best=is_best,
    )


def explanation(table: ComparisonTable) -> list[str]:
    """Notes on the columns and on the tests."""
    compared = [arm for arm in table.arms if arm.comparison is not None]
    name = metric_title(table.metric)
    notes = [f"{sentence_start(name)}: mean ± sample standard deviation over seeds; each table's best is bold."]
    if compared:
        notes += [
            f"Δ is the arm less the reference over the videos and seeds that both have, with a {LEVEL:.0%} percentile "
            f"bootstrap interval over videos ({DRAWS:,} resamples, scores averaged over seeds first): how far another "
            "sample of videos would move it, not how far other seeds would.",
            "p is the exact two-sided McNemar test on paired predictions (discordant videos are summed over seeds, as "
            "if these were independent), Holm-corrected over the comparisons of each table.",
        ]
        if compared[0].comparison and compared[0].comparison.p_bootstrap is not None:
            notes[1:] = [
                "Δ is the arm less the reference over the videos that both have, as a mean over the seeds that both "
                f"have, with a {LEVEL:.0%} percentile interval of a paired bootstrap over videos ({MAP_DRAWS:,} "
                "resamples): how far another sample of videos would move it, not how far other seeds would.",
                "p is that of the same bootstrap, two-sided and never below "
                f"{2 / (MAP_DRAWS + 1):.1g}, Holm-corrected over the comparisons of each table.",
            ]
    elif not table.is_testable:
        notes.append(
            f"No test was made: {name} is no share of right answers, which the exact McNemar test needs. Compare "
            "several seeds."
        )
    else:
        notes.append(
            "No test was made: the exact McNemar test and the bootstrap interval need a reference and the predictions "
            "of both arms on the same videos with the same seeds."
        )
    if table.mismatched:
        notes.append(f"Predictions that do not add up to {name} were ignored: {', '.join(table.mismatched)}.")
    if not all(is_complete(arm) for arm in table.arms):
        notes.append(
            "Arms that were stopped early or lost a seed are marked; they are never the best and are not tested."
        )
    if any(math.isfinite(any_run_mean(arm, table.memory)) for arm in table.arms):
        notes.append(f"Memory is {_memory_text(table)}.")
    return notes


def _memory_text(table: ComparisonTable) -> str:
    if table.memory != MEASURED_MEMORY:
        return "planned, not measured: the peak of one worker with a GPU that trains the arm alone"
    on_gpu = any(RESERVED_MEMORY in run.metrics for arm in table.arms for run in arm.runs)
    return "the measured peak of one worker" + ("" if on_gpu else ": the tensors of a step, on a CPU")


# ---- CSV

_FIXED_HEAD = ("table", "label", "is_reference", "is_best")


def as_csv(table: ComparisonTable) -> str:
    """Raw values at full precision, one row per arm: fractions, GiB, seconds. Unknown values are empty.

    Swept fields are columns `swept/NAME` (text as it is, other values as JSON), the paper's values `paper/NAME`.
    """
    swept = list(dict.fromkeys(name for arm in table.arms for name in arm.swept))
    paper = list(dict.fromkeys(name for arm in table.arms for name in arm.paper))
    # Only where it stands for the McNemar test: other tables have the columns of before.
    bootstrap = any(arm.comparison and arm.comparison.p_bootstrap is not None for arm in table.arms)
    records = [_record(arm, table.metric, swept=swept, paper=paper, bootstrap=bootstrap) for arm in table.arms]
    text = io.StringIO()
    empty = _record(_NOTHING, table.metric, swept=swept, paper=paper, bootstrap=bootstrap)
    writer = csv.DictWriter(text, fieldnames=list(empty), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(
    arm: ArmResult, metric: str, *, swept: Sequence[str], paper: Sequence[str], bootstrap: bool
) -> dict[str, str]:
    found = arm.comparison
    known: dict[str, float | None] = {
        metric: arm.value.mean,
        f"{metric}/deviation": arm.value.deviation,
        f"{metric}/seeds": arm.value.count,
        "best_epoch": arm.best_epoch.mean,
        "best_epoch/deviation": arm.best_epoch.deviation,
        "difference": arm.difference,
        "difference/low": found and found.low,
        "difference/high": found and found.high,
        "p_mcnemar": found and found.p_mcnemar,
        "p_adjusted": found and found.p_adjusted,
        **({"p_bootstrap": found and found.p_bootstrap} if bootstrap else {}),
        "only_reference": found and found.only_reference,
        "only_arm": found and found.only_arm,
        "compared_videos": found and found.videos,
        "compared_seeds": found and found.seeds,
        **{key: any_run_mean(arm, key) for key in (TRAINED, MEASURED_MEMORY, PLANNED_MEMORY)},
        "memory/held_for_backward_gib": any_run_mean(arm, "memory/held_for_backward_gib"),
        "time/alone_step_s": any_run_mean(arm, ALONE),
        **{f"paper/{name}": arm.paper.get(name) for name in paper},
    }
    head = (text_cell(arm.table), text_cell(arm.label), _flag(arm.is_reference_here), _flag(arm.is_best))
    return {
        **dict(zip(_FIXED_HEAD, head, strict=True)),
        **{f"swept/{name}": text_cell(exact_text(arm.swept[name])) if name in arm.swept else "" for name in swept},
        **{name: _number(value) for name, value in known.items()},
        "state": state_text(arm),
        "seeds": " ".join(str(run.seed) for run in counted_runs(arm)),
        "run_ids": text_cell(" ".join(run.run_id for run in arm.runs)),
    }


_TEXTS = frozenset({"table", "label", "state", "seeds", "run_ids"})


def as_values(line: Mapping[str, str]) -> dict[str, Any]:
    """A row of the CSV with its numbers as numbers, its flags as booleans, and null where nothing is known."""
    return {name: text if name in _TEXTS else _value(text) for name, text in line.items()}


def _value(text: str) -> Any:
    """A number, boolean or null if the text is one of JSON's; else the text."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | None) -> str:
    """The shortest text that reads back as the same number; empty for none and NaN."""
    if value is None or math.isnan(value):
        return ""
    return repr(int(value)) if isinstance(value, int) or float(value).is_integer() else repr(float(value))


_NOTHING = ArmResult("", "", {}, ())

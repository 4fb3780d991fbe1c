"""The rows of a sweep, read back from the store."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.reports.arms import MEASURED_MEMORY, ArmResult, SeedResult
from side4video.reports.comparable import as_compared, check_runs, has_figures
from side4video.spec.protocol import describe_differences
from side4video.spec.sweep import SweepSpec
from side4video.spec.arm import Arm, Sweep, build_sweep, changed_values, swept_values
from side4video.tracking.finished_runs import correct_predictions
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.sweep_logger import SweepLogger
from side4video.tracking.tags import ROWS_TAG, RUN_KIND_TAG, STATE_TAG, SWEEP_KIND, SWEEP_TAG

PREDICTIONS = "predictions.csv"


def collect_rows(record: SweepLogger, spec: SweepSpec, rows: Sequence[Arm]) -> list[ArmResult]:
    """One row of the report for each row of the sweep, its seeds together, with what its arms measured.

    Args:
        record: The sweep in the store.
        spec: Its document.
        rows: Its rows, one a seed.
    """
    runs = record.children()
    swept = dict(zip(range(len(rows)), swept_values(rows), strict=True))
    figures = {key: _figures(record, run) for key, run in runs.items()}
    grouped: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        grouped.setdefault((row.table, row.label), []).append(number)
    reference = _reference(spec, rows)
    collected = []
    for (table, label), numbers in grouped.items():
        first = rows[numbers[0]]
        trained = [_with_seed(figures.get(rows[number].experiment.digest()), rows[number].seed) for number in numbers]
        collected.append(
            ArmResult(
                table=table,
                label=label,
                swept=swept[numbers[0]],
                runs=tuple(trained),
                paper=dict(first.paper),
                is_reference=first.experiment.digest() == reference,
            )
        )
    return collected


def comparability(record: SweepLogger, spec: SweepSpec, rows: Sequence[Arm]) -> list[str]:
    """What the report says of arms that answer different questions: in a column of it, or as `compare_anyway` allows.

    The documents were compared before anything ran; here it is what the runs recorded, of data that may have changed
    since the first of them.

    Args:
        record: The sweep in the store.
        spec: Its document.
        rows: Its rows.

    Raises:
        InputError: If arms with figures differ in their data or protocol in another way.
    """
    runs = record.children()
    shown = changed_values(rows)
    compared = [
        as_compared(runs[key], label=row.row_name, shown=dotted(values))
        for row, values in zip(rows, shown, strict=True)
        if (key := row.experiment.digest()) in runs and has_figures(runs[key])
    ]
    fix = "the same command trains arms of other data anew, and with --rerun all; or say compare_anyway: [{field}]"
    found = check_runs(compared, where=spec.name, metrics=(spec.metric,), anyway=spec.compare_anyway, fix=fix)
    return describe_differences(found)


def _reference(spec: SweepSpec, rows: Sequence[Arm]) -> str:
    """The digest of the arm that others are compared with."""
    named = [row for row in rows if row.label == spec.reference]
    plain = [row for row in rows if not row.overrides]
    return (named or plain or list(rows))[0].experiment.digest()


def _figures(record: SweepLogger, run: StoredRun) -> SeedResult:
    metrics = dict(run.metrics)
    if metrics.get("plan/pack_arms", 1.0) > 1.0:
        # The device's peak was the pack's, not this arm's.
        metrics.pop(MEASURED_MEMORY, None)
    with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
        try:
            text = Path(record.store.download(run.run_id, PREDICTIONS, folder)).read_text(encoding="utf-8")
        except InputError:
            text = ""
    correct: Mapping[int, bool] = correct_predictions(text) if text else {}
    return SeedResult(run.run_id, 0, run.tags.get(STATE_TAG, "failed"), metrics, correct)


def _with_seed(figures: SeedResult | None, seed: int) -> SeedResult:
    if figures is None:
        return SeedResult("", seed, "failed", {})
    return SeedResult(figures.run_id, seed, figures.state, figures.metrics, figures.correct)


DOCUMENT = "sweep.json"
_SWEEPS = {RUN_KIND_TAG: SWEEP_KIND}


def read_sweep(store: RunStore, name: str) -> tuple[Sweep, SweepLogger]:
    """The sweep with this name or id, newest first; its arms need not have run.

    Raises:
        InputError: There is no such run, it is no sweep's, or its document cannot be read any more.
    """
    run = _find(store, name)
    with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
        document = json.loads(Path(store.download(run.run_id, DOCUMENT, folder)).read_text(encoding="utf-8"))
    spec = SweepSpec.model_validate({**document["sweep"], "base": document["base"]})
    sweep = build_sweep(spec, document["base"], f"sweep {run.name} ({run.run_id[:8]})")
    return sweep, SweepLogger(store, run.run_id, run.tags[SWEEP_TAG])


def stored_rows(sweep: Sweep, record: SweepLogger) -> tuple[list[ArmResult], list[str]]:
    """What its arms measured, and sentences about differences that its document allows.

    Raises:
        InputError: Arms saw other data or were measured in another way, and no column says so.
    """
    rows = sweep.rows or _proposed(record)
    told = comparability(record, sweep.spec, rows)
    return collect_rows(record, sweep.spec, rows), told


def find_run_or_sweep(store: RunStore, name: str) -> StoredRun:
    """The newest sweep of this name, or else the run with this id, the beginning of one, or this name.

    Raises:
        InputError: There is neither.
    """
    named = store.runs(name=name, tags=_SWEEPS, all_experiments=True, limit=1)
    return named[0] if named else store.find(name)


def is_sweep_run(run: StoredRun) -> bool:
    """Whether a run of the store is a sweep's."""
    return run.tags.get(RUN_KIND_TAG) == SWEEP_KIND


def _find(store: RunStore, name: str) -> StoredRun:
    run = find_run_or_sweep(store, name)
    if not is_sweep_run(run):
        known = [each.name for each in store.runs(tags=_SWEEPS, all_experiments=True, limit=50)]
        allowed = ", ".join(dict.fromkeys(known)) or "the store has no sweep yet"
        raise InputError(name, f"the run {run.name} is no sweep's", allowed=allowed)
    return run


def _proposed(record: SweepLogger) -> Sequence[Arm]:
    """The rows that Optuna proposed: one for each arm in the store, with its own document."""
    from side4video.spec.load import parse_experiment

    rows = []
    for run in record.children().values():
        with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
            document: dict[str, Any] = json.loads(
                Path(record.store.download(run.run_id, "spec.json", folder)).read_text(encoding="utf-8")
            )
        experiment = parse_experiment(document, source=f"run {run.run_id[:8]}")
        label = run.tags.get(ROWS_TAG, run.name).partition(" | ")[0]
        rows.append(Arm("", label, {}, experiment.seed, experiment))
    return sorted(rows, key=lambda row: row.label)

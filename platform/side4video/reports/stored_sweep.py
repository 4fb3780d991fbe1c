"""Reads sweeps and the results of their arms from the run store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.reports.arms import MEASURED_MEMORY, RESERVED_MEMORY, ArmResult, SeedResult
from side4video.reports.comparable import as_compared, check_runs, has_figures
from side4video.reports.label_significance import VideoScores
from side4video.runs.endless_pass import arms_of, records_of
from side4video.spec.arm import Arm, Sweep, build_sweep, changed_values, swept_values
from side4video.spec.protocol import describe_differences
from side4video.spec.sweep import SweepSpec
from side4video.tasks.multi_label.metrics import METRICS as MULTI_LABEL_METRICS
from side4video.tracking.finished_runs import correct_predictions
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text
from side4video.tracking.sweep_logger import SweepLogger
from side4video.tracking.tags import ROWS_TAG, RUN_KIND_TAG, STATE_TAG, SWEEP_KIND, SWEEP_TAG

PREDICTIONS = "predictions.csv"


def collect_rows(sweep_logger: SweepLogger, spec: SweepSpec, rows: Sequence[Arm]) -> list[ArmResult]:
    """One result for each arm of the sweep, with all its seeds.

    `rows` has one for each seed.
    """
    runs = sweep_logger.children()
    swept = dict(zip(range(len(rows)), swept_values(rows), strict=True))
    figures = {key: _figures(sweep_logger, run, spec.metric) for key, run in runs.items()}
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


def check_sweep(sweep_logger: SweepLogger, spec: SweepSpec, rows: Sequence[Arm]) -> list[str]:
    """Check that the arms of a sweep are comparable; return notes about the differences that are allowed.

    Specs are compared before training. This compares the stored runs, because data may have changed between them.

    Raises:
        InputError: If arms with results differ in data or protocol in another way.
    """
    runs = sweep_logger.children()
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
    """The digest of the reference arm."""
    named = [row for row in rows if row.label == spec.reference]
    plain = [row for row in rows if not row.overrides]
    return (named or plain or list(rows))[0].experiment.digest()


def _figures(sweep_logger: SweepLogger, run: StoredRun, metric: str) -> SeedResult:
    metrics = dict(run.metrics)
    if metrics.get("plan/pack_arms", 1.0) > 1.0 and RESERVED_MEMORY in metrics:
        # A GPU's peak is that of the whole pack, not this arm's. On a CPU each arm's is counted alone.
        metrics.pop(MEASURED_MEMORY, None)
    text = artifact_text(sweep_logger.store, run.run_id, PREDICTIONS, default="")
    correct: Mapping[int, bool] = correct_predictions(text, metric) if text else {}
    scores = _scores(sweep_logger.store, run.run_id) if metric == f"eval/{MULTI_LABEL_METRICS[0].name}" else None
    return SeedResult(run.run_id, 0, run.tags.get(STATE_TAG, "failed"), metrics, correct, scores)


def _scores(store: RunStore, run_id: str) -> VideoScores | None:
    """The stored scores of several labels a video; None if there are none."""
    import numpy as np

    with temporary_folder() as folder:
        try:
            found = np.load(store.download(run_id, "scores.npz", folder))
        except InputError:
            return None
        with found:
            return VideoScores(
                found["indices"].astype(np.int64),
                found["scores"].astype(np.float64),
                found["labels"].astype(np.int64),
            )


def _with_seed(figures: SeedResult | None, seed: int) -> SeedResult:
    if figures is None:
        return SeedResult("", seed, "failed", {})
    return replace(figures, seed=seed)


DOCUMENT = "sweep.json"
_SWEEPS = {RUN_KIND_TAG: SWEEP_KIND}


def read_sweep(store: RunStore, name: str) -> tuple[Sweep, SweepLogger]:
    """The newest sweep with this name, or with this id.

    Raises:
        InputError: There is no such run, it is not of a sweep, or its spec is no longer valid.
    """
    run = _find(store, name)
    document = json.loads(artifact_text(store, run.run_id, DOCUMENT))
    spec = SweepSpec.model_validate({**document["sweep"], "base": document["base"]})
    sweep = build_sweep(spec, document["base"], f"sweep {run.name} ({run.run_id[:8]})")
    return sweep, SweepLogger(store, run.run_id, run.tags[SWEEP_TAG])


def stored_rows(sweep: Sweep, sweep_logger: SweepLogger) -> tuple[list[ArmResult], list[str]]:
    """The results of a stored sweep, and notes about the differences that are allowed.

    Raises:
        InputError: Arms differ in data or protocol without a column for it.
    """
    rows = sweep.rows or _proposed(sweep_logger)
    if sweep.spec.has_seats:
        rows = seated_rows(sweep, sweep_logger)
    notes = check_sweep(sweep_logger, sweep.spec, rows)
    return collect_rows(sweep_logger, sweep.spec, rows), notes


def seated_rows(sweep: Sweep, sweep_logger: SweepLogger) -> tuple[Arm, ...]:
    """The rows of a sweep with seats: those of its document, and those that were proposed or added."""
    known = {row.key for row in sweep.rows}
    sat = arms_of(records_of(sweep_logger.store, sweep_logger.parent))
    return (*sweep.rows, *(row for arm in sat for row in arm.rows if row.key not in known))


def find_run_or_sweep(store: RunStore, name: str) -> StoredRun:
    """The newest sweep of this name, or else the run with this id, start of an id, or name.

    Raises:
        InputError: There is none.
    """
    named = store.runs(name=name, tags=_SWEEPS, all_experiments=True, limit=1)
    return named[0] if named else store.find(name)


def is_sweep_run(run: StoredRun) -> bool:
    """Whether a run is the run of a sweep."""
    return run.tags.get(RUN_KIND_TAG) == SWEEP_KIND


def _find(store: RunStore, name: str) -> StoredRun:
    run = find_run_or_sweep(store, name)
    if not is_sweep_run(run):
        known = [each.name for each in store.runs(tags=_SWEEPS, all_experiments=True, limit=50)]
        allowed = ", ".join(dict.fromkeys(known)) or "the store has no sweep yet"
        raise InputError(name, f"the run {run.name} is not of a sweep", allowed=allowed)
    return run


def _proposed(sweep_logger: SweepLogger) -> Sequence[Arm]:
    """The arms that Optuna proposed, from the specs of the stored runs."""
    from side4video.spec.load import parse_experiment

    rows = []
    for run in sweep_logger.children().values():
        document: dict[str, Any] = json.loads(artifact_text(sweep_logger.store, run.run_id, "spec.json"))
        experiment = parse_experiment(document, source=f"run {run.run_id[:8]}")
        label = run.tags.get(ROWS_TAG, run.name).partition(" | ")[0]
        rows.append(Arm("", label, {}, experiment.seed, experiment))
    return sorted(rows, key=lambda row: row.label)

"""The rows of a sweep, read back from the store."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.reports.comparable import as_compared, check_runs, has_figures
from side4video.reports.rows import MEASURED_MEMORY, ArmRow, RunFigures
from side4video.spec.arms import Row, changed_values, swept_values
from side4video.spec.protocol import sentences
from side4video.spec.sweep import SweepSpec
from side4video.tracking.journal import STATE_TAG
from side4video.tracking.ledger import correct_predictions
from side4video.tracking.search import StoredRun
from side4video.tracking.sweep_record import SweepRecord

PREDICTIONS = "predictions.csv"


def collect_rows(record: SweepRecord, spec: SweepSpec, rows: Sequence[Row]) -> list[ArmRow]:
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
            ArmRow(
                table=table,
                label=label,
                swept=swept[numbers[0]],
                runs=tuple(trained),
                paper=dict(first.paper),
                is_reference=first.experiment.digest() == reference,
            )
        )
    return collected


def comparability(record: SweepRecord, spec: SweepSpec, rows: Sequence[Row]) -> list[str]:
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
        as_compared(runs[key], label=row.place, shown=dotted(values))
        for row, values in zip(rows, shown, strict=True)
        if (key := row.experiment.digest()) in runs and has_figures(runs[key])
    ]
    fix = "the same command trains arms of other data anew, and with --rerun all; or say compare_anyway: [{field}]"
    found = check_runs(compared, where=spec.name, metrics=(spec.metric,), anyway=spec.compare_anyway, fix=fix)
    return sentences(found)


def _reference(spec: SweepSpec, rows: Sequence[Row]) -> str:
    """The digest of the arm that others are compared with."""
    named = [row for row in rows if row.label == spec.reference]
    plain = [row for row in rows if not row.overrides]
    return (named or plain or list(rows))[0].experiment.digest()


def _figures(record: SweepRecord, run: StoredRun) -> RunFigures:
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
    return RunFigures(run.run_id, 0, run.tags.get(STATE_TAG, "failed"), metrics, correct)


def _with_seed(figures: RunFigures | None, seed: int) -> RunFigures:
    if figures is None:
        return RunFigures("", seed, "failed", {})
    return RunFigures(figures.run_id, seed, figures.state, figures.metrics, figures.correct)

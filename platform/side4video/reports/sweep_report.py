"""The report of a sweep that ran: compare its arms, store the comparison, and say what packing saved."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from side4video.arm_search.quote import quote_search
from side4video.arm_search.records import ArmRecord
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.core.units import format_duration
from side4video.reports.arms import ArmResult, best_metrics
from side4video.reports.stored_sweep import check_sweep, collect_rows
from side4video.runs.pass_logger import read_seats
from side4video.runs.sweep import PreparedSweep, SweepResult
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import PACK_TAG, STATE_TAG


def report_sweep(
    prepared: PreparedSweep, result: SweepResult, folder: str | None
) -> tuple[list[ArmResult], list[Path], list[str]]:
    """Compare the arms, and write the report to the sweep's run and to `folder`: rows, files, and notes.

    Raises:
        InputError: Arms differ in data or protocol without a column for it, or the disk is full.
    """
    from side4video.core.files import write_together
    from side4video.reports.figures.seats import SEATS
    from side4video.reports.figures.style import figure_bytes
    from side4video.reports.figures.sweep import sweep_figures, sweep_source
    from side4video.reports.tables import write_report

    spec = prepared.sweep.spec
    of_document = {row.key for row in prepared.sweep.rows}
    others = (row for arm in result.arms for row in arm.rows if row.key not in of_document)  # proposed or added
    listed = (*prepared.sweep.rows, *others)
    figures = {
        "arms": float(len(result.arms)),
        "predicted_speedup": prepared.plan.predicted_speedup,
        "seconds": result.seconds,
    }
    try:
        notes = [*check_sweep(result.sweep_logger, spec, listed), *_notes(prepared, result)]
    except InputError:
        # The trained runs stay in the store, so the same command can compare them later.
        result.sweep_logger.close(is_complete=False, artifacts=[], figures=figures)
        raise
    rows = collect_rows(result.sweep_logger, spec, listed)
    with temporary_folder() as scratch:
        target = Path(folder) if folder else scratch
        target.mkdir(parents=True, exist_ok=True)
        title = f"{spec.name}: {spec.reproduces}" if spec.reproduces else spec.name
        drawn = sweep_figures(result.sweep_logger, rows, metric=spec.metric, mode=spec.mode, name=spec.name)
        source = sweep_source(result.sweep_logger, spec.name)
        compared: dict[str, Any] = {"metric": spec.metric, "mode": spec.mode}
        files = write_report(target, rows, title=title, notes=notes, figures=drawn, source=source, **compared)
        for strip in (each for each in drawn if each.name == SEATS):
            files += write_together(target, {f"{SEATS}.png": figure_bytes(strip.figure, "png", below=strip.source)})
        best = best_metrics(rows, **compared)
        result.sweep_logger.close(
            is_complete=result.is_complete, artifacts=files, figures=figures, metric=spec.metric, best=best
        )
    return rows, files if folder else [], notes


def _notes(prepared: PreparedSweep, result: SweepResult) -> list[str]:
    plan = prepared.plan
    if prepared.sweep.spec.has_seats:
        return _seat_notes(prepared, result)
    taken = sum(not run.is_in_sweep(prepared.key) for run in prepared.completed.values())
    notes = [
        f"{plan.rows} rows are {len(result.arms)} distinct arms. {len(plan.done)} had a result already"
        + (f" ({taken} from other runs)" if taken else "")
        + f"; the others train in {len(plan.packs)} pack{'' if len(plan.packs) == 1 else 's'}.",
        f"Predicted speed-up of packing: {plan.predicted_speedup:.2f} against distinct arms one by one, and "
        f"{plan.predicted_speedup_of_rows:.2f} against all rows. It counts multiply-adds: K(F + C) / (F + sum C) for K "
        "arms, with F of the frozen backbone and C of an arm.",
    ]
    trained = [run for key, run in result.sweep_logger.children().items() if key not in prepared.completed]
    return notes + measured_speedup(trained, seconds=result.seconds)


def _seat_notes(prepared: PreparedSweep, result: SweepResult) -> list[str]:
    """What an endless pass did, beside what was quoted before."""
    passes = read_seats(result.sweep_logger.store, result.sweep_logger.parent)
    records = [ArmRecord.from_json(each) for state in passes.values() for each in state["records"]]
    lasted = sum(
        max((stay["end"] or 0 for each in state["records"] for stay in each["stays"]), default=0)
        for state in passes.values()
    )
    trained = sum(record.epochs for record in records)
    states = Counter(record.state for record in records)
    ends = ", ".join(f"{count} {state}" for state, count in states.items())
    if prepared.sweep.spec.shares_pass:
        stays = [stay for record in records for stay in record.stays]
        first, last = min((each.first for each in stays), default=0), max((each.end or 0 for each in stays), default=0)
        return [
            f"{len(records)} arms took seats of a pass that other sweeps share, in its epochs {first + 1} to {last}: "
            f"{ends}. The arms trained {trained} epochs: one by one, the backbone would have run as many."
        ]
    notes = [
        f"{len(records)} arms took {prepared.sweep.spec.seats} seats of an endless pass: {ends}. The pass lasted "
        f"{lasted} epochs, and the arms trained {trained}: one by one, the backbone would have run {trained} epochs."
    ]
    if quote := quote_search(prepared.plan, prepared.sweep.spec):
        way = quote.with_seats
        notes.append(
            f"The plan said {way.pass_epochs:.0f} epochs of the pass and {way.arm_epochs:.0f} of arms; in packs of "
            f"{quote.seats} {quote.in_batches.pass_epochs:.0f} and {quote.in_batches.arm_epochs:.0f}."
        )
    return notes


def measured_speedup(runs: Sequence[StoredRun], *, seconds: float) -> list[str]:
    """What packing saved in the training steps of these arms, and why it is not what was predicted.

    `seconds` is the time of the whole command. Empty if the arms recorded no times.
    """
    alone = sum(run.metrics.get("time/alone_s", 0.0) for run in runs)
    packs: dict[str, float] = {}
    for run in runs:
        spent = run.metrics.get("time/mean_step_s", 0.0) * run.metrics.get("train/steps_trained", 0.0)
        pack = run.tags.get(PACK_TAG, run.run_id)
        packs[pack] = max(packs.get(pack, 0.0), spent)
    together = sum(packs.values())
    if not (alone and together):
        return []
    took, would_take = format_duration(together), format_duration(alone)
    return [
        f"Measured speed-up of packing: {alone / together:.2f} against distinct arms one by one: the training steps "
        f"took {took}, and would have taken {would_take} with a pass of the backbone for each arm. The prediction "
        "counts multiply-adds only; small operations, reading data and the optimizer also take time, and the backbone "
        "and the students do not reach the same rate. The whole command, with starting, evaluating and storing, took "
        f"{format_duration(seconds)}."
    ]


def sweep_json(prepared: PreparedSweep, result: SweepResult) -> dict[str, Any]:
    """The document that `side4video sweep --json` prints."""
    runs = result.sweep_logger.children()
    arms = [
        {
            "label": arm.title,
            "rows": [row.row_name for row in arm.rows],
            "hash": arm.key,
            "run_id": runs[arm.key].run_id if arm.key in runs else "",
            "state": runs[arm.key].tags.get(STATE_TAG, "failed") if arm.key in runs else "failed",
            "had_a_result": arm.key in prepared.completed,
            "metrics": dict(runs[arm.key].metrics) if arm.key in runs else {},
        }
        for arm in result.arms
    ]
    return {
        "run_id": result.sweep_logger.parent,
        "complete": result.is_complete,
        "plan": prepared.plan.as_json(),
        "arms": arms,
        "failures": dict(result.failures),
        "time": {"wall_s": result.seconds},
    }

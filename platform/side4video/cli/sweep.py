"""`side4video sweep`: an ablation or a search, on as few passes of the frozen backbone as will do."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from side4video.cli.sweep_quote import quote
from side4video.cli.sweep_view import SweepView
from side4video.core.errors import InputError
from side4video.core.units import format_duration
from side4video.distributed.trainer import RayTrainer
from side4video.reports.stored_sweep import collect_rows, comparability
from side4video.runs.sweep import PreparedSweep, SweepResult, prepare_sweep, run_sweep
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import load_sweep
from side4video.terminal.options import as_json, table_console
from side4video.tracking.tags import STATE_TAG


@click.command()
@click.argument("sweep", type=click.Path())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the sweep, as in --set seeds=5. Repeatable.",
)
@as_json
@click.option("--local", is_flag=True, help="In this process, without Ray; only where every arm trains to its end.")
@click.option("--address", default="local", show_default=True, help="Ray cluster; `local` starts one here.")
@click.option("--rerun", is_flag=True, help="Run arms again that have a result.")
@click.option(
    "--report", type=click.Path(file_okay=False), default=None, help="Also write the report into this folder."
)
def sweep(
    sweep: str,
    overrides: tuple[str, ...],
    as_json: bool,
    local: bool,
    address: str,
    rerun: bool,
    report: str | None,
) -> None:
    """Run the arms of SWEEP that have no result yet, and compare them all.

    An arm is known by its hash: what finished is never run again, whoever ran it. After an interruption, the same
    command goes on from the last checkpoints.
    """
    document = load_sweep(sweep, overrides)
    base = document.base_experiment
    view = SweepView(
        document.spec.name, document.spec.metric, mode=document.spec.mode, videos_a_step=base.optimization.batch_size
    )
    with LocalTrainer() if local else RayTrainer(address, base.cluster) as trainer:
        with view:
            prepared = prepare_sweep(document, progress=view, rerun=rerun, trainer=trainer)
        Console(stderr=True).print(quote(prepared.plan, document.spec))
        view.add_arms(
            document.arms, {key: _done(run.is_in_sweep(prepared.key)) for key, run in prepared.completed.items()}
        )
        with view:
            outcome = run_sweep(prepared, progress=view, trainer=trainer)
    with view:
        view.report("comparing the arms")
        rows, files, notes = _conclude(prepared, outcome, report)
    if as_json:
        click.echo(json.dumps(_as_json(prepared, outcome), indent=2))
    else:
        _print(prepared, outcome, rows, files, notes)
    if not outcome.is_complete:
        _say_missing(outcome)
        sys.exit(1)


def _done(is_own: bool) -> str:
    return "finished" if is_own else "done before"


def _conclude(
    prepared: PreparedSweep, outcome: SweepResult, folder: str | None
) -> tuple[list[Any], list[Path], list[str]]:
    """The report, as files in the sweep's run and, if asked for, in a folder; and what stands above its table."""
    from side4video.reports.figures.sweep import sweep_figures
    from side4video.reports.page import write_report

    spec = prepared.sweep.spec
    listed = prepared.sweep.rows or tuple(row for arm in outcome.arms for row in arm.rows)
    figures = {"predicted_speedup": prepared.plan.predicted_speedup, "seconds": outcome.seconds}
    try:
        notes = [*comparability(outcome.sweep_logger, spec, listed), *_notes(prepared, outcome)]
    except InputError:
        # What was trained stays, and the same command compares it once it may be compared.
        outcome.sweep_logger.close(is_complete=False, artifacts=[], figures=figures)
        raise
    rows = collect_rows(outcome.sweep_logger, spec, listed)
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        place = Path(folder) if folder else Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        title = f"{spec.name}: {spec.reproduces}" if spec.reproduces else spec.name
        drawn = sweep_figures(outcome.sweep_logger, rows, metric=spec.metric, mode=spec.mode)
        files = write_report(place, rows, title=title, metric=spec.metric, mode=spec.mode, notes=notes, figures=drawn)
        outcome.sweep_logger.close(
            is_complete=outcome.is_complete, artifacts=files, figures=figures, metric=spec.metric
        )
    return rows, files if folder else [], notes


def _notes(prepared: PreparedSweep, outcome: SweepResult) -> list[str]:
    plan = prepared.plan
    taken = sum(not run.is_in_sweep(prepared.key) for run in prepared.completed.values())
    notes = [
        f"{plan.rows} rows, {len(outcome.arms)} distinct arms, {len(plan.done)} of them with a result before"
        + (f" ({taken} from other runs)" if taken else "")
        + f", {len(plan.packs)} pack{'' if len(plan.packs) == 1 else 's'} to train.",
        f"Predicted speed-up of packing: {plan.predicted_speedup:.2f} against distinct arms one by one, "
        f"{plan.predicted_speedup_of_rows:.2f} against all rows; in multiply-adds, K(F + C) / (F + sum C).",
    ]
    alone = sum(
        run.metrics.get("time/alone_s", 0.0)
        for key, run in outcome.sweep_logger.children().items()
        if key not in prepared.completed
    )
    if alone:
        notes.append(
            f"This command took {format_duration(outcome.seconds)}; the training steps of its arms, each with a pass "
            f"of its own, would have taken {format_duration(alone)}."
        )
    return notes


def _as_json(prepared: PreparedSweep, outcome: SweepResult) -> dict[str, Any]:
    runs = outcome.sweep_logger.children()
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
        for arm in outcome.arms
    ]
    return {
        "run_id": outcome.sweep_logger.parent,
        "complete": outcome.is_complete,
        "plan": prepared.plan.as_json(),
        "arms": arms,
        "failures": dict(outcome.failures),
        "time": {"wall_s": outcome.seconds},
    }


def _print(prepared: PreparedSweep, outcome: SweepResult, rows: list[Any], files: list[Path], notes: list[str]) -> None:
    from side4video.reports.columns import as_rich
    from side4video.reports.comparison import compare_rows, explanation

    spec = prepared.sweep.spec
    console = table_console()
    table = compare_rows(rows, metric=spec.metric, mode=spec.mode)
    console.print(as_rich(table, width=min(console.width, 160)))
    for line in explanation(table):
        console.print(line, style="dim", highlight=False)
    for note in notes:
        console.print(note, highlight=False)
    for file in files:
        console.print(f"written: {file}", highlight=False, soft_wrap=True)
    console.print(
        f"\nThe sweep is run {outcome.sweep_logger.parent}, with the report among its artifacts, its arms below it.\n"
        f"See them side by side: side4video ui --sweep {outcome.sweep_logger.parent[:8]}",
        highlight=False,
        soft_wrap=True,
    )


def _say_missing(outcome: SweepResult) -> None:
    labels = {arm.key: arm.title for arm in outcome.arms}
    reasons: dict[str, list[str]] = {}
    for key, reason in outcome.failures.items():
        reasons.setdefault(reason, []).append(labels.get(key, key[:16]))
    for reason, names in reasons.items():
        click.echo(f"error: {len(names)} arms failed ({', '.join(names[:5])}): {reason}", err=True)
    if outcome.left:
        click.echo(f"error: {len(outcome.left)} arms are left for another time: limits.hours is over", err=True)
    click.echo("The same command goes on with what is missing.", err=True)

"""`side4video sweep`: run an ablation or a search, with as few passes of the frozen backbone as possible."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.cli.sweep_plan import plan_tables
from side4video.cli.sweep_view import SweepView
from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.core.units import format_duration
from side4video.distributed.trainer import RayTrainer
from side4video.reports.arms import best_metrics
from side4video.reports.stored_sweep import check_sweep, collect_rows
from side4video.runs.sweep import PreparedSweep, SweepResult, hold_sweep, prepare_sweep, run_sweep
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import load_sweep
from side4video.terminal.options import as_json, example, ray_address, table_console
from side4video.terminal.output import PlainConsole, print_text
from side4video.tracking.tags import PACK_TAG, STATE_TAG

if TYPE_CHECKING:
    from side4video.tracking.run_store import StoredRun


@click.command(
    short_help="Train all variants (arms) of a sweep and compare them.",
    epilog=example("sweep experiments/quickstart-sweep.yaml --report report"),
)
@click.argument("sweep", type=click.Path())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the sweep, as in --set seeds=5. Repeatable.",
)
@as_json
@click.option(
    "--local",
    is_flag=True,
    help="Train in this process, without Ray. Works for sweeps without a scheduler and without Optuna.",
)
@ray_address
@click.option("--rerun", is_flag=True, help="Also train arms that already have a result.")
@click.option("--report", type=click.Path(file_okay=False), default=None, help="Also write the report to this folder.")
def sweep(
    sweep: str, overrides: tuple[str, ...], as_json: bool, local: bool, address: str, rerun: bool, report: str | None
) -> None:
    """Train the variants (arms) of SWEEP that have no result yet, and compare all of them.

    An arm that already has a finished run is not trained again. After an interruption, the same command continues from
    the last checkpoints.
    """
    document = load_sweep(sweep, overrides)
    base = document.base_experiment
    view = SweepView(
        document.spec.name, document.spec.metric, mode=document.spec.mode, videos_per_step=base.optimization.batch_size
    )
    with signals.handling_signals(), hold_sweep(document):
        with LocalTrainer() if local else RayTrainer(address, base.cluster) as trainer:
            with view:
                prepared = prepare_sweep(document, progress=view, rerun=rerun, trainer=trainer)
            PlainConsole(stderr=True).print(plan_tables(prepared.plan, document.spec))
            view.add_arms(
                document.arms, {key: _done(run.is_in_sweep(prepared.key)) for key, run in prepared.completed.items()}
            )
            with view:
                result = run_sweep(prepared, progress=view, trainer=trainer)
        with view:
            view.report("comparing the arms")
            signals.set_busy(True)  # the report is stored to its end
            rows, files, notes = _write_report(prepared, result, report)
    if as_json:
        click.echo(json.dumps(_as_json(prepared, result), indent=2))
    else:
        _print(prepared, result, rows, files, notes)
    if not result.is_complete:
        _print_missing(result)
        sys.exit(1)


def _done(is_own: bool) -> str:
    return "finished" if is_own else "done before"


def _write_report(
    prepared: PreparedSweep, result: SweepResult, folder: str | None
) -> tuple[list[Any], list[Path], list[str]]:
    """Compare the arms, and write the report to the sweep's run and to `folder`: rows, files, and notes."""
    from side4video.reports.figures.sweep import sweep_figures, sweep_source
    from side4video.reports.tables import write_report

    spec = prepared.sweep.spec
    listed = prepared.sweep.rows or tuple(row for arm in result.arms for row in arm.rows)
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
        best = best_metrics(rows, **compared)
        result.sweep_logger.close(
            is_complete=result.is_complete, artifacts=files, figures=figures, metric=spec.metric, best=best
        )
    return rows, files if folder else [], notes


def _notes(prepared: PreparedSweep, result: SweepResult) -> list[str]:
    plan = prepared.plan
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


def measured_speedup(runs: "Sequence[StoredRun]", *, seconds: float) -> list[str]:
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


def _as_json(prepared: PreparedSweep, result: SweepResult) -> dict[str, Any]:
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


def _print(prepared: PreparedSweep, result: SweepResult, rows: list[Any], files: list[Path], notes: list[str]) -> None:
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
        f"\nThe sweep is run {result.sweep_logger.parent}, with the report among its artifacts, its arms below it.\n"
        f"See them side by side: side4video ui --sweep {result.sweep_logger.parent[:8]}",
        highlight=False,
        soft_wrap=True,
    )


def _print_missing(result: SweepResult) -> None:
    labels = {arm.key: arm.title for arm in result.arms}
    reasons: dict[str, list[str]] = {}
    for key, reason in result.failures.items():
        reasons.setdefault(reason, []).append(labels.get(key, key[:16]))
    for reason, names in reasons.items():
        print_text(f"error: {len(names)} arms failed ({', '.join(names[:5])}): {reason}", err=True)
    if result.left:
        click.echo(f"error: {len(result.left)} arms were not started: the time limit limits.hours is reached", err=True)
    click.echo("The same command continues with the missing arms.", err=True)

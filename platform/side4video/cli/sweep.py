"""`side4video sweep`: run an ablation or a search, with as few passes of the frozen backbone as possible."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core import signals
from side4video.terminal.options import as_json, check_place, example, ray_address, table_console
from side4video.terminal.output import print_text
from side4video.terminal.spec_completion import complete_spec

if TYPE_CHECKING:
    from side4video.runs.sweep import PreparedSweep, SweepResult


@click.command(
    short_help="Train all variants (arms) of a sweep and compare them.",
    epilog=example("sweep quickstart-sweep --report report"),
)
@click.argument("sweep", type=click.Path(), shell_complete=complete_spec)
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
    help="Train in this process, without Ray. A sweep with a scheduler or Optuna then needs seats.",
)
@ray_address
@click.option("--rerun", is_flag=True, help="Also train arms that already have a result.")
@click.option("--report", type=click.Path(file_okay=False), default=None, help="Also write the report to this folder.")
def sweep(
    sweep: str, overrides: tuple[str, ...], as_json: bool, local: bool, address: str, rerun: bool, report: str | None
) -> None:
    """Train the variants (arms) of SWEEP that have no result yet, and compare all of them.

    SWEEP is a YAML file or the name of a preset. An arm that already has a finished run is not trained again. After an
    interruption, the same command continues from the last checkpoints.
    """
    from side4video.cli.sweep_plan import plan_tables
    from side4video.distributed.trainer import RayTrainer
    from side4video.reports.sweep_report import report_sweep, sweep_json
    from side4video.runs.sweep import hold_sweep, prepare_sweep, run_sweep
    from side4video.runs.trainer import LocalTrainer
    from side4video.spec.arm import load_sweep
    from side4video.terminal.console import PlainConsole
    from side4video.terminal.sweep_view import SweepView

    document = load_sweep(sweep, overrides)
    check_place(local=local, address=address)
    document.spec.check_installed()
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
            rows, files, notes = report_sweep(prepared, result, report)
    if as_json:
        click.echo(json.dumps(sweep_json(prepared, result), indent=2))
    else:
        _print(prepared, result, rows, files, notes)
    if not result.is_complete:
        _print_missing(result)
        sys.exit(1)


def _done(is_own: bool) -> str:
    return "finished" if is_own else "done before"


def _print(
    prepared: "PreparedSweep", result: "SweepResult", rows: list[Any], files: list[Path], notes: list[str]
) -> None:
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


def _print_missing(result: "SweepResult") -> None:
    labels = {arm.key: arm.title for arm in result.arms}
    reasons: dict[str, list[str]] = {}
    for key, reason in result.failures.items():
        reasons.setdefault(reason, []).append(labels.get(key, key[:16]))
    for reason, names in reasons.items():
        print_text(f"error: {len(names)} arms failed ({', '.join(names[:5])}): {reason}", err=True)
    if result.left:
        click.echo(f"error: {len(result.left)} arms were not started: the time limit limits.hours is reached", err=True)
    click.echo("The same command continues with the missing arms.", err=True)

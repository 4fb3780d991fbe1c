"""`side4video plan`: parameters, multiply-adds and memory, before anything runs."""

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from side4video.cli.options import as_json, overrides, spec_file
from side4video.core.errors import InputError
from side4video.core.units import GIGA
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment


@click.command()
@spec_file
@overrides
@as_json
@click.option("--classes", type=click.IntRange(2), default=None, help="Width of the head, where the data is not here.")
@click.option("--budget-gib", type=float, default=None, help="Exit code 1 if a worker's predicted peak is above this.")
def plan(spec: str, overrides: tuple[str, ...], as_json: bool, classes: int | None, budget_gib: float | None) -> None:
    """Say what an experiment takes: no GPU, no weights and no videos are needed."""
    experiment = load_experiment(spec, overrides)
    figures = plan_experiment(experiment, classes=classes or count_classes(experiment))
    if as_json:
        click.echo(json.dumps(figures.as_json(), indent=2))
    else:
        _print(figures, experiment)
    if budget_gib is not None and figures.peak_memory_gib > budget_gib:
        click.echo(
            f"over budget: predicted peak {figures.peak_memory_gib:.2f} GiB, allowed {budget_gib:g} GiB · "
            "fix: a smaller optimization.batch_size, or optimization.accumulation (the batch norms then see less)",
            err=True,
        )
        sys.exit(1)


def count_classes(experiment: Experiment) -> int:
    """The data set's number of classes; a clear line where its files are not here."""
    try:
        return len(experiment.data.dataset.classes())
    except InputError as error:
        raise InputError(
            error.where, error.found, allowed=error.allowed, fix="say --classes N to plan without it"
        ) from None


def _print(figures: ExperimentPlan, experiment: Experiment) -> None:
    cluster, optimization = experiment.cluster, experiment.optimization
    table = Table(title=f"Plan of {figures.name}", box=None, show_header=False, title_justify="left", pad_edge=False)
    table.add_row("trainable parameters", f"{figures.trainable_parameters:,}")
    table.add_row("frozen tower's parameters", f"{figures.tower_parameters:,}")
    views = f"one view; {figures.multiply_adds_all_views / GIGA:,.1f} G over {figures.views} views"
    table.add_row("multiply-adds", f"{figures.multiply_adds / GIGA:,.1f} G {views}")
    table.add_row("  of the frozen tower", f"{figures.multiply_adds_frozen / GIGA:,.1f} G")
    table.add_row("  of the student, head included", f"{figures.multiply_adds_student / GIGA:,.1f} G")
    share = f"a worker: {optimization.batch_size // cluster.workers} videos, {optimization.precision}"
    table.add_row("peak memory, predicted", f"{figures.peak_memory_gib:.2f} GiB ({share})")
    for part, size in figures.peak_memory_parts_gib.items():
        table.add_row(f"  {part.replace('_', ' ')}", f"{size:.3f} GiB")
    Console().print(table)
    Console().print(
        "Multiply-adds follow the paper's convention: its GFLOPs are multiply-adds summed over views.", style="dim"
    )

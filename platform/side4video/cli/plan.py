"""`side4video plan`: parameters, multiply-adds and memory, before anything runs."""

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from side4video.cli.options import as_json, overrides, spec_file
from side4video.core.errors import InputError
from side4video.core.units import GIGA
from side4video.planning.advice import Advice, advise
from side4video.planning.estimates import SUSTAINED_TERAFLOPS
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment


@click.command()
@spec_file
@overrides
@as_json
@click.option("--classes", type=click.IntRange(2), default=None, help="Width of the head, where the data is not here.")
@click.option(
    "--budget-gib",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Exit code 1 if a worker's predicted peak is above this, with the cheapest change that makes it fit.",
)
@click.option(
    "--sustained-teraflops",
    type=click.FloatRange(min=0, min_open=True),
    default=SUSTAINED_TERAFLOPS,
    show_default=True,
    help="What a worker's device keeps up, for the estimates of time.",
)
def plan(
    spec: str,
    overrides: tuple[str, ...],
    as_json: bool,
    classes: int | None,
    budget_gib: float | None,
    sustained_teraflops: float,
) -> None:
    """Say what an experiment takes: no GPU, no weights and no videos are needed."""
    experiment = load_experiment(spec, overrides)
    classes = classes or count_classes(experiment)
    figures = plan_experiment(experiment, classes=classes, sustained_teraflops=sustained_teraflops)
    if as_json:
        click.echo(json.dumps(figures.as_json(), indent=2))
    else:
        _print(figures, experiment)
    if budget_gib is not None and figures.peak_memory_gib > budget_gib:
        advice = advise(experiment, classes=classes, budget_gib=budget_gib)
        click.echo(
            f"over budget: predicted peak {figures.peak_memory_gib:.2f} GiB, allowed {budget_gib:g} GiB · "
            f"fix: {_in_words(advice)}",
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


def _in_words(advice: Advice) -> str:
    if not advice.settings:
        return (
            f"a smaller optimization.batch_size or method: the changes known here lead to {advice.peak_gib:.2f} GiB "
            "at best"
        )
    settings = " ".join(f"--set {setting}" for setting in advice.settings)
    return f"{settings} (then {advice.peak_gib:.2f} GiB; {'; '.join(advice.costs)})"


def _print(figures: ExperimentPlan, experiment: Experiment) -> None:
    cluster, optimization = experiment.cluster, experiment.optimization
    table = Table(title=f"Plan of {figures.name}", box=None, show_header=False, title_justify="left", pad_edge=False)
    table.add_row("trainable parameters", f"{figures.trainable_parameters:,}")
    table.add_row("frozen tower's parameters", f"{figures.tower_parameters:,}")
    views = f"one view; {figures.multiply_adds_all_views / GIGA:,.1f} G over {figures.views} views"
    table.add_row("multiply-adds", f"{figures.multiply_adds / GIGA:,.1f} G {views}")
    table.add_row("  of the frozen tower", f"{figures.multiply_adds_frozen / GIGA:,.1f} G")
    table.add_row("  of the student, head included", f"{figures.multiply_adds_student / GIGA:,.1f} G")
    parts = f" in {optimization.accumulation} parts" if optimization.accumulation > 1 else ""
    share = f"a worker: {optimization.batch_size // cluster.workers} videos{parts}, {optimization.precision}"
    table.add_row("held for backward", f"{figures.held_for_backward_gib:.2f} GiB ({share})")
    table.add_row(
        "peak memory, predicted", f"{figures.peak_memory_gib:.2f} GiB, in {figures.peak_memory_phase}; parts:"
    )
    for part, size in figures.peak_memory_parts_gib.items():
        table.add_row(f"  {part.replace('_', ' ')}", f"{size:.3f} GiB")
    table.add_row("reserved by the allocator", f"{figures.reserved_memory_gib:.2f} GiB")
    estimates = figures.estimates
    rate = f"if the device keeps up {estimates['assumed_sustained_teraflops']:g} TFLOP/s"
    step = f"{estimates['step_seconds']:.3f} s, {estimates['clips_per_second']:.1f} clips/s"
    table.add_row("a step, estimated", f"{step} {rate}")
    table.add_row("disk, estimated", f"{estimates['disk_gib']:.2f} GiB of checkpoints")
    Console().print(table)
    Console().print(
        "Multiply-adds follow the paper's convention: its GFLOPs are multiply-adds summed over views.", style="dim"
    )

"""`side4video plan`: estimate parameters, multiply-adds, memory and time without training."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from side4video.core.errors import InputError
from side4video.core.units import GIB, format_bytes, format_count, format_duration
from side4video.planning.rates import DISK_GIGABYTES_PER_SECOND, SUSTAINED_TERAFLOPS
from side4video.terminal.heartbeat import still_working
from side4video.terminal.options import FiniteRange, as_json, example, overrides, spec_file, table_console

if TYPE_CHECKING:
    from side4video.planning.advice import Advice
    from side4video.planning.plan import ExperimentPlan
    from side4video.planning.sweep import SweepPlan
    from side4video.spec.arm import Sweep
    from side4video.spec.experiment import Experiment


@click.command(
    short_help="Estimate the memory, compute and time of a spec.",
    epilog=example("plan ssv2/vitb16 --budget-gib 10"),
)
@spec_file
@overrides
@as_json
@click.option(
    "--classes",
    type=click.IntRange(2),
    default=None,
    help="Number of classes, if the data set's files are not on this machine.",
)
@click.option(
    "--budget-gib",
    type=FiniteRange(min=0, min_open=True),
    default=None,
    help="Memory limit of a worker, in GiB. If the plan exceeds it, print the cheapest change that fits and "
    "exit with 1.",
)
@click.option(
    "--sustained-teraflops",
    type=FiniteRange(min=0, min_open=True),
    default=None,
    help="TFLOP/s that your GPU sustains, for estimates of time. An A100 sustains about 120.",
)
@click.option(
    "--disk-gigabytes-per-second",
    type=FiniteRange(min=0, min_open=True),
    default=DISK_GIGABYTES_PER_SECOND,
    show_default=True,
    help="Speed of reading from the disk in 10^9 bytes/s, for the feature cache.",
)
def plan(
    spec: str,
    overrides: tuple[str, ...],
    as_json: bool,
    classes: int | None,
    budget_gib: float | None,
    sustained_teraflops: float | None,
    disk_gigabytes_per_second: float,
) -> None:
    """Estimate the memory, compute and time of the experiment or the sweep SPEC.

    SPEC is a YAML file or the name of a preset. The plan needs no GPU, weights or videos.
    """
    from side4video.planning.advice import advise
    from side4video.planning.feature_cache import count_clips
    from side4video.planning.plan import plan_experiment
    from side4video.spec.load import is_sweep, load_experiment

    if is_sweep(spec):
        show_sweep_plan(spec, overrides, as_json=as_json, classes=classes, budget_gib=budget_gib)
        return
    experiment = load_experiment(spec, overrides)
    classes = classes or count_classes(experiment)
    with still_working(f"{experiment.name}: planning"):
        figures = plan_experiment(
            experiment,
            classes=classes,
            sustained_teraflops=sustained_teraflops or SUSTAINED_TERAFLOPS,
            clips=count_clips(experiment.data),
            disk_gigabytes_per_second=disk_gigabytes_per_second,
        )
    if as_json:
        click.echo(json.dumps(figures.as_json(), indent=2))
    else:
        _print(figures, experiment, shows_time=sustained_teraflops is not None)
    if budget_gib is not None and figures.peak_memory_gib > budget_gib:
        with still_working(f"{experiment.name}: looking for what fits"):
            advice = advise(experiment, classes=classes, budget_gib=budget_gib)
        click.echo(
            f"over budget: predicted peak {figures.peak_memory_gib:.2f} GiB, allowed {budget_gib:g} GiB · "
            f"fix: {_in_words(advice)}",
            err=True,
        )
        sys.exit(1)


def count_classes(experiment: "Experiment") -> int:
    """The data set's number of classes. If its files are not on this machine, the usual number, with a message."""
    from side4video.planning import class_count

    return class_count.count_classes(experiment, lambda text: click.echo(text, err=True))


def _in_words(advice: "Advice") -> str:
    if not advice.settings:
        return (
            f"a smaller optimization.batch_size or method: the changes known here lead to {advice.peak_gib:.2f} GiB "
            "at best"
        )
    settings = " ".join(f"--set {setting}" for setting in advice.settings)
    return f"{settings} (then {advice.peak_gib:.2f} GiB; {'; '.join(advice.costs)})"


def _cache_in_words(cache: Mapping[str, Any]) -> str:
    """Whether a feature cache saves time."""
    rates = (
        f"at {cache['assumed_sustained_teraflops']:g} TFLOP/s and {cache['assumed_disk_gigabytes_per_second']:g} GB/s"
    )
    after, epochs = cache["break_even_epochs"], cache["epochs"]
    if after is None:
        compute, read = 1000 * cache["compute_seconds_per_clip"], 1000 * cache["read_seconds_per_clip"]
        return f"saves no time: reading a clip takes {read:.2g} ms, computing it {compute:.2g} ms ({rates})"
    made = format_duration(cache["build_seconds"])
    return f"saves time after {after:,} epochs; this spec has {epochs:g} ({rates}; building takes {made})"


def _print(plan: "ExperimentPlan", experiment: "Experiment", *, shows_time: bool) -> None:
    from rich.table import Table

    from side4video.planning.plan import MEMORY_PARTS

    cluster, optimization = experiment.cluster, experiment.optimization
    table = Table(title=f"Plan of {plan.name}", box=None, show_header=False, title_justify="left", pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_row("trained parameters", f"{plan.trainable_parameters:,}")
    table.add_row("image tower parameters", f"{plan.tower_parameters:,}")
    of_views = f"; {plan.views} views: {format_count(plan.multiply_adds_all_views)}" if plan.views > 1 else ""
    table.add_row("multiply-adds per video", f"{format_count(plan.multiply_adds)}{of_views}")
    table.add_row("  frozen tower", format_count(plan.multiply_adds_frozen))
    table.add_row("  side network and head", format_count(plan.multiply_adds_student))
    table.add_row("held for backward", f"{_memory(plan.held_for_backward_gib)}, saved by autograd in the forward pass")
    table.add_row("peak GPU memory", f"{_memory(plan.peak_memory_gib)}, reached in {plan.peak_memory_phase}")
    for part, size in plan.peak_memory_parts_gib.items():
        table.add_row(f"  {MEMORY_PARTS.get(part, part)}", _memory(size))
    table.add_row("reserved GPU memory", f"{_memory(plan.reserved_memory_gib)}, with the allocator's free blocks")
    if shows_time:
        estimates = plan.estimates
        rate = f"at {estimates['assumed_sustained_teraflops']:g} TFLOP/s"
        step = f"{1000 * estimates['step_seconds']:.3g} ms, {estimates['clips_per_second']:,.0f} clips/s"
        table.add_row("time of a step", f"{step}, {rate}")
    table.add_row("checkpoints on disk", _memory(plan.estimates["disk_gib"]))
    if plan.feature_cache is not None:
        cache = cast("Mapping[str, Any]", plan.feature_cache)
        table.add_row(
            "feature cache", f"{format_bytes(cache['total_bytes'])}, {'used' if cache['is_used'] else 'not used'}"
        )
        versions = f"{cache['views']} version{'s' if cache['views'] > 1 else ''}"
        table.add_row("", f"{versions} of {cache['train_clips']:,} training clips, {cache['test_clips']:,} test clips")
        if shows_time:
            table.add_row("", _cache_in_words(cache))
    console = table_console()
    console.print(table)
    parts = f" in {optimization.accumulation} parts" if optimization.accumulation > 1 else ""
    videos = -(-optimization.batch_size // cluster.min_workers)
    notes = [
        f"Memory is that of one worker, which trains {videos} videos{parts} at a time in {optimization.precision}.",
        "Multiply-adds are counted as in the paper, which calls them FLOPs.",
    ]
    if not shows_time:
        notes.append("For an estimate of time, give the speed of your GPU: --sustained-teraflops 120 fits an A100.")
    for note in notes:
        console.print(note, style="dim", highlight=False)


def _memory(gib: float) -> str:
    return format_bytes(gib * GIB)


def show_sweep_plan(
    file: str, overrides: tuple[str, ...], *, as_json: bool, classes: int | None, budget_gib: float | None
) -> None:
    """Plan a sweep and print it.

    Without `classes`, the data set says their number. Above `budget_gib`, the memory limit of a pack, the exit code is
    1.
    """
    from side4video.cli.sweep_plan import alone, plan_tables
    from side4video.planning.sweep import plan_sweep
    from side4video.spec.arm import load_sweep

    sweep = load_sweep(file, overrides)
    try:
        count = classes or len(sweep.base_experiment.data.listed.classes())
    except InputError as error:
        raise InputError(
            error.where, error.found, allowed=error.allowed, fix="give --classes N to plan without it"
        ) from None
    with still_working(f"{sweep.spec.name}: planning {len(sweep.arms)} arms"):
        done, is_known = _done(sweep)
        plan = plan_sweep(sweep, classes=count, done=done)
    if as_json:
        click.echo(json.dumps(plan.as_json(), indent=2))
    else:
        console = table_console()
        console.print(plan_tables(plan, sweep.spec))
        if not plan.proposed:
            console.print(alone(plan))
        if not is_known:
            console.print(
                "The data set is not on this machine, so arms that already have a result are not known.", style="dim"
            )
    _check_budget(plan, budget_gib)


def _done(sweep: "Sweep") -> tuple[frozenset[str], bool]:
    """Keys of arms with a result, and whether the store could be searched for them."""
    from side4video.data.datasets import MotionSpec
    from side4video.runs.sweep import sweep_key
    from side4video.tracking.finished_runs import completed_arms
    from side4video.tracking.stores import open_store

    try:
        dataset = sweep.base_experiment.data.dataset
        if isinstance(dataset, MotionSpec) and not dataset.is_made():
            return frozenset(), False  # planning does not generate data
        dataset.check()
        fingerprint = dataset.fingerprint()
        store = open_store(sweep.base_experiment.tracking).prepare()
        return frozenset(completed_arms(store, sweep_key(sweep), sweep.arms, fingerprint=fingerprint)), True
    except InputError:
        return frozenset(), False


def _check_budget(plan: "SweepPlan", budget_gib: float | None) -> None:
    if budget_gib is None or not plan.packs:
        return
    largest = max(plan.packs, key=lambda pack: pack.peak_gib)
    if largest.peak_gib > budget_gib:
        click.echo(
            f"over budget: a pack of {len(largest.arms)} arms is predicted to take {largest.peak_gib:.2f} GiB, "
            f"allowed {budget_gib:g} GiB · fix: --set limits.memory_gib={budget_gib:g} splits it",
            err=True,
        )
        sys.exit(1)

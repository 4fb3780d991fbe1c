"""`side4video plan` of a sweep: arms, what of them is done, packs, memory and speed-up."""

import json
import sys

import click
from rich.console import Console

from side4video.cli.sweep_quote import alone, quote
from side4video.core.errors import InputError
from side4video.data.datasets import MotionSpec
from side4video.distributed.sweep import sweep_key
from side4video.planning.sweep import SweepPlan, plan_sweep
from side4video.spec.arms import Sweep
from side4video.spec.load_sweep import load_sweep


def show_sweep_plan(
    file: str, overrides: tuple[str, ...], *, as_json: bool, classes: int | None, budget_gib: float | None
) -> None:
    """Plan a sweep and print it.

    Args:
        file: The sweep's file.
        overrides: Changes of its document.
        as_json: Whether it is printed as JSON.
        classes: Width of the head, where the data is not here.
        budget_gib: Exit code 1 if a pack is predicted to take more.
    """
    sweep = load_sweep(file, overrides)
    try:
        count = classes or len(sweep.base_experiment.data.dataset.classes())
    except InputError as error:
        raise InputError(
            error.where, error.found, allowed=error.allowed, fix="say --classes N to plan without it"
        ) from None
    done, is_known = _done(sweep)
    plan = plan_sweep(sweep, classes=count, done=done)
    if as_json:
        click.echo(json.dumps(plan.as_json(), indent=2))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=120)
        console.print(quote(plan, sweep.spec))
        if not plan.proposed:
            console.print(alone(plan))
        if not is_known:
            console.print("The data are not here, so the ledger was not asked which arms have a result.", style="dim")
    _hold_budget(plan, budget_gib)


def _done(sweep: Sweep) -> tuple[frozenset[str], bool]:
    """Keys of arms with a result, and whether that could be found out."""
    from side4video.tracking.settled import settled_arms
    from side4video.tracking.store import Store

    try:
        dataset = sweep.base_experiment.data.dataset
        if isinstance(dataset, MotionSpec) and not dataset.is_made():
            return frozenset(), False  # a plan makes nothing
        dataset.check()
        fingerprint = dataset.fingerprint()
        store = Store.from_spec(sweep.base_experiment.tracking).prepare()
        return frozenset(settled_arms(store, sweep_key(sweep), sweep.arms, fingerprint=fingerprint)), True
    except InputError:
        return frozenset(), False


def _hold_budget(plan: SweepPlan, budget_gib: float | None) -> None:
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

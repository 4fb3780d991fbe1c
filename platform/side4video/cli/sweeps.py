"""`side4video sweeps`: look at a sweep whose arms take seats, add an arm to it, stop one."""

import json
from typing import TYPE_CHECKING, Any

import click

from side4video.core.units import format_duration
from side4video.terminal.options import as_json, example
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.spec.arm import Sweep
    from side4video.tracking.run_store import RunStore
    from side4video.tracking.sweep_logger import SweepLogger

sweep_name = click.argument("sweep")
MAX_WAITING = 10
"""Waiting arms that are shown by name."""


@click.group(short_help="See who trains in a running sweep; add an arm, or stop one.")
def sweeps() -> None:
    """Look at a sweep with seats while it runs, and change it.

    SWEEP is its name or the id of its run. The sweep has `packing: {seats: 8}`, say.
    """


@sweeps.command(
    short_help="Let one more arm train.",
    epilog=example(
        "sweeps add my-search --arm 'method.dim: 96'",
        "sweeps add my-search --arm '{method.layers: 6, optimization.learning_rate: 5.0e-4}' --label deep",
    ),
)
@sweep_name
@click.option("--arm", "changes", required=True, metavar="CHANGES", help="Changes to the base, as in the sweep's file.")
@click.option("--label", default="", help="Name of the arm in tables. Default: its changes.")
@as_json
def add(sweep: str, changes: str, label: str, as_json: bool) -> None:
    """Let one more arm train in SWEEP.

    It takes a seat at the next boundary between two epochs at which one is free. The arms that train are not touched.
    """
    from side4video.runs.sweep_requests import add_arm, check_has_seats, parse_overrides

    document, record = _read(sweep)
    check_has_seats(document, sweep)
    rows = add_arm(record.store, record.parent, document, parse_overrides(changes), label=label)
    titles = [row.title for row in rows]
    if as_json:
        click.echo(json.dumps({"added": titles, "runs_now": _runs_now(record)}, indent=2))
        return
    print_text(f"added: {', '.join(titles)}. {_when(record, 'It trains')}")


@sweeps.command(short_help="Stop one arm.", epilog=example("sweeps stop my-search --arm 'dim=96'"))
@sweep_name
@click.option("--arm", "title", required=True, metavar="LABEL", help="Label of the arm, as `sweeps status` shows it.")
@as_json
def stop(sweep: str, title: str, as_json: bool) -> None:
    """Stop one arm of SWEEP at the end of its epoch. Its results so far are kept, and its seat is free."""
    from side4video.runs.sweep_requests import check_has_seats, stop_arm

    document, record = _read(sweep)
    check_has_seats(document, sweep)
    stopped = stop_arm(record.store, record.parent, document, title)
    if as_json:
        click.echo(json.dumps({"stopped": stopped, "runs_now": _runs_now(record)}, indent=2))
        return
    print_text(f"will stop: {stopped}. {_when(record, 'It leaves')}")


@sweeps.command(short_help="Show who has a seat and who waits.", epilog=example("sweeps status my-search"))
@sweep_name
@as_json
def status(sweep: str, as_json: bool) -> None:
    """Show who has a seat in SWEEP, who waits, how fast it goes, and when it will end."""
    from side4video.runs.endless_pass import read_seats
    from side4video.runs.sweep_requests import check_has_seats, open_requests
    from side4video.runs.sweep_status import pass_status

    document, record = _read(sweep)
    check_has_seats(document, sweep)
    passes = read_seats(record.store, record.parent)
    runs = {key[:16]: run for key, run in record.children().items()}
    found = {name: pass_status(state, runs, metric=document.spec.metric) for name, state in passes.items()}
    if as_json:
        waiting = open_requests(record.store, record.parent)
        answer = {"run_id": record.parent, "runs_now": _runs_now(record), "passes": found, "requests": waiting}
        click.echo(json.dumps(answer, indent=2))
        return
    if not found:
        waits = "its arms wait for seats; the pass says more after its next epoch"
        print_text(f"{sweep}: {waits if _runs_now(record) else 'no pass has begun. Start it: side4video sweep FILE'}")
    for each in found.values():
        _print_pass(each, is_running=_runs_now(record), metric=document.spec.metric)
    if waiting := open_requests(record.store, record.parent):
        print_text(f"{len(waiting)} request{'s' * (len(waiting) > 1)} not taken yet. {_when(record, 'They count')}")


def _print_pass(found: dict[str, Any], *, is_running: bool, metric: str) -> None:
    from side4video.terminal.options import table_console
    from side4video.terminal.tables import fitted

    console = table_console()
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    has_ended = not found["seats"] and not found["waiting"] and not found["to_propose"]
    if has_ended:
        console.print(f"ended after {found['epoch']:g} epochs of the pass: {counts}", style="bold", highlight=False)
        return
    head = f"epoch {found['epoch']:g} of the pass: {len(found['seats'])} of {found['number_of_seats']} seats taken"
    rate = f" · {found['clips_per_s']:.1f} clips/s" if found["clips_per_s"] else ""
    left = f" · about {format_duration(found['seconds_left'])} left" if found["seconds_left"] and is_running else ""
    console.print(f"{head}{rate}{left if found['epochs_left'] else ''}", style="bold", highlight=False)
    proposals = f", {found['to_propose']} to be proposed" if found["to_propose"] else ""
    console.print(f"{counts}{proposals}", highlight=False)
    if found["seats"]:
        columns = {
            "seat": [str(each["seat"] + 1) for each in found["seats"]],
            "arm": [each["arm"] for each in found["seats"]],
            "epoch": [f"{each['epochs']} of {found['epochs']}" for each in found["seats"]],
            metric.rpartition("/")[2]: [
                "" if each["value"] is None else f"{each['value']:.3f}" for each in found["seats"]
            ],
            "since epoch": [str(each["since"] + 1) for each in found["seats"]],
        }
        console.print(fitted(columns, texts=("arm",)))
    if others := found["others"]:
        taken = ", ".join(f"{name} {count}" for name, count in others.items())
        console.print(f"seats of other sweeps on this pass: {taken}", highlight=False)
    if waiting := found["waiting"]:
        more = f", and {len(waiting) - MAX_WAITING} more" if len(waiting) > MAX_WAITING else ""
        console.print(f"waiting: {', '.join(waiting[:MAX_WAITING])}{more}", highlight=False)
    if found["one_more_arm"]:
        console.print(
            f"One more arm would make a step {found['one_more_arm']:.0%} longer while it trains, if a seat is free.",
            highlight=False,
        )


def _read(sweep: str) -> "tuple[Sweep, SweepLogger]":
    from side4video.reports.stored_sweep import read_sweep

    return read_sweep(_store(), sweep)


def _store() -> "RunStore":
    from side4video.tracking.stores import store_at

    return store_at().prepare()


def _runs_now(record: "SweepLogger") -> bool:
    from side4video.tracking.run_holder import describe_holder

    return bool(describe_holder(record.store.get(record.parent)))


def _when(record: "SweepLogger", who: str) -> str:
    if _runs_now(record):
        return f"{who} from the next epoch of the pass on."
    return "The sweep does not run now: the same `side4video sweep` command goes on with it."

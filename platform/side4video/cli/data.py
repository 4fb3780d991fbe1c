"""`side4video data`: generate, check and pack data sets."""

import json
import time

import click

from side4video.apps.data_check.command import check
from side4video.apps.data_pack.command import pack
from side4video.data.datasets import MotionSpec
from side4video.terminal.options import as_json


@click.group()
def data() -> None:
    """Generate data sets, check them, or pack them into shards."""


data.add_command(check)
data.add_command(pack)


@data.command()
@click.option("--kind", type=click.Choice(["motion"]), default="motion", show_default=True, help="Kind of data set.")
@click.option("--train-clips", type=int, default=500, show_default=True, help="Number of training clips.")
@click.option("--test-clips", type=int, default=200, show_default=True, help="Number of test clips.")
@click.option("--frames", type=int, default=16, show_default=True, help="Frames per clip.")
@click.option("--size", type=int, default=64, show_default=True, help="Width and height in pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the scenes.")
@as_json
def make(*, as_json: bool, **fields: object) -> None:
    """Generate a built-in data set, unless it exists. Equal options give equal bytes.

    Runs generate the data set too, if it does not exist.
    """
    from pydantic import ValidationError

    from side4video.core.errors import InputError
    from side4video.core.units import format_duration

    try:
        spec = MotionSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"]:
            field, found = str(first["loc"][0]), f"{first['input']!r}: {first['msg']}"
        else:  # a rule of the whole document; its message begins with the field at fault
            field, _, found = str(first.get("ctx", {}).get("error", first["msg"])).partition(" ")
        raise InputError("--" + field.replace("_", "-"), found) from error
    begin = time.monotonic()
    _prepare(spec)
    seconds = time.monotonic() - begin
    if as_json:
        answer = {"folder": str(spec.folder()), "fingerprint": spec.fingerprint(), **spec.model_dump()}
        click.echo(json.dumps({**answer, "classes": spec.classes(), "seconds": round(seconds, 2)}, indent=2))
        return
    click.echo(f"{spec.folder()}")
    click.echo(
        f"{spec.train_clips} clips for training and {spec.test_clips} for test, {len(spec.classes())} classes, "
        f"{spec.frames} frames of {spec.size} x {spec.size} pixels; {format_duration(seconds)}"
    )


def _prepare(spec: MotionSpec) -> None:
    """Make the set under a bar on stderr: rate and time left on a terminal, one plain line in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("motion"),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        begin = time.monotonic()
        task = None

        def show(done: int, total: int) -> None:
            nonlocal task
            rate = f"{done / max(1e-6, time.monotonic() - begin):.0f} clips/s"
            if task is None:
                task = bar.add_task("motion", total=total, rate=rate)
            bar.update(task, completed=done, rate=rate)

        spec.prepare(show)

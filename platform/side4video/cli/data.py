"""`side4video data`: generate, check and pack data sets."""

import json
import time

import click

from side4video.apps.data_check.command import check
from side4video.apps.data_pack.command import pack
from side4video.terminal.options import as_json, example


@click.group()
def data() -> None:
    """Generate data sets, check them, or pack them into shards."""


data.add_command(check)
data.add_command(pack)


@data.command(
    short_help="Generate a built-in data set.", epilog=example("data make --train-clips 1200 --test-clips 240")
)
@click.option("--kind", type=click.Choice(["motion"]), default="motion", show_default=True, help="Kind of data set.")
@click.option("--train-clips", type=int, default=500, show_default=True, help="Number of training clips.")
@click.option("--test-clips", type=int, default=200, show_default=True, help="Number of test clips.")
@click.option("--frames", type=int, default=16, show_default=True, help="Frames per clip.")
@click.option("--size", type=int, default=64, show_default=True, help="Width and height in pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the scenes.")
@as_json
def make(*, as_json: bool, **fields: object) -> None:
    """Generate a built-in data set, unless it exists.

    The same options always give the same bytes. A run generates its data set too, if it does not exist.
    """
    from pydantic import ValidationError

    from side4video.core.errors import InputError
    from side4video.core.units import format_duration
    from side4video.data.datasets import MotionSpec
    from side4video.terminal.progress import ProgressView

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
    with ProgressView("motion", unit="clips") as view:
        spec.prepare(lambda done, total: view.report("rendering", done, total))
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

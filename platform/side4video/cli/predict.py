"""`side4video predict`: classify videos with a finished run or an exported folder."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.core.temporary import temporary_folder
from side4video.engine.process_group import default_device
from side4video.terminal.options import as_json, device, example, store_uri, video_seconds
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.inference.model import Model, Prediction


@click.command(
    short_help="Classify videos with a trained model.",
    epilog=example("predict quickstart clip.mp4 --top 3"),
)
@click.argument("model")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Number of classes to print.")
@store_uri
@device
@video_seconds
@as_json
def predict(
    model: str,
    videos: tuple[str, ...],
    top: int,
    uri: str,
    device: str,
    video_seconds: float,
    as_json: bool,
) -> None:
    """Classify each VIDEO with MODEL, a run or an exported folder.

    A run is given by its id, the start of its id, or its name. `side4video export` writes such a folder. The exit code
    is 1 if a video cannot be read.
    """
    from side4video.data.streams.timed_prefetch import timed_prefetcher

    loaded = _load(model, uri, device or default_device())
    found = loaded.predict(videos, top=top, prefetch=timed_prefetcher(video_seconds))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _print(found)
    if any(each.error for each in found):
        sys.exit(1)


def _load(model: str, uri: str, device: str) -> "Model":
    from side4video.inference.model import Model, load

    if Path(model).is_dir():
        return load(model, device)
    from side4video.runs.stored_run import fetch_trained
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    with temporary_folder() as scratch:
        run, weights, fingerprint = fetch_trained(store, model, scratch)
        print_text(f"{run.title}, weights of the best epoch", err=True)
        return Model(run.spec, run.spec.data.dataset.classes(), weights, device=device, backbone_sha256=fingerprint)


def _print(found: "list[Prediction]") -> None:
    from rich.table import Table
    from rich.text import Text

    from side4video.core.text import printable
    from side4video.terminal.options import table_console

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("video", overflow="fold")
    table.add_column("label")
    table.add_column("score", justify="right")
    for each in found:
        name = printable(each.video)
        if each.error:
            table.add_row(Text(name), Text(printable(each.error), style="red"), "")
        for rank, (label, score) in enumerate(each.labels):
            table.add_row(Text("" if rank else name), Text(printable(label)), f"{100 * score:.1f}%")
    table_console().print(table)

"""`side4video predict`: classify videos, or a camera, with a finished run or an exported folder."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.engine.process_group import default_device
from side4video.terminal.options import as_json, device, example, store_uri, video_seconds
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.inference.model import Model, Prediction
    from side4video.inference.sliding_window import StreamPrediction

TOP = 5


@click.command(
    short_help="Classify videos or a camera with a trained model.",
    epilog=example("predict quickstart clip.mp4 --top 3", "predict quickstart --camera 0"),
)
@click.argument("model")
@click.argument("videos", nargs=-1, metavar="[VIDEO]...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=None,
    help=f"Number of classes to print. [default: {TOP}; of a stream 1]",
)
@click.option("--camera", type=click.IntRange(min=0), default=None, help="Classify this camera, 0 for the first one.")
@click.option(
    "--stream", "address", default=None, metavar="ADDRESS", help="Classify a video file or an address as a stream."
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Of a stream: frames from one prediction to the next.",
)
@click.option(
    "--window-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Of a stream: how many of the newest seconds are classified.",
)
@store_uri
@device
@video_seconds
@as_json
def predict(
    model: str,
    videos: tuple[str, ...],
    top: int | None,
    camera: int | None,
    address: str | None,
    every: int,
    window_seconds: float,
    uri: str,
    device: str,
    video_seconds: float,
    as_json: bool,
) -> None:
    """Classify each VIDEO with MODEL, a run or an exported folder.

    A run is given by its id, the start of its id, or its name. `side4video export` writes such a folder. The exit code
    is 1 if a video cannot be read.

    With --camera or --stream, a line is printed for each window of the newest seconds, until the stream ends or Ctrl-C.
    With --json, each line is a document.
    """
    source = camera if camera is not None else address
    if (source is None) == (not videos) or (camera is not None and address is not None):
        raise click.UsageError("Give VIDEO..., or --camera, or --stream.")
    if source is not None:
        loaded = _load(model, uri, device or default_device())
        windows = loaded.stream(source, every=every, window_seconds=window_seconds, top=top or 1)
        for each in windows:
            _print_window(each, as_json=as_json)
        return
    from side4video.data.streams.timed_prefetch import timed_prefetcher

    loaded = _load(model, uri, device or default_device())
    found = loaded.predict(videos, top=top or TOP, prefetch=timed_prefetcher(video_seconds))
    if as_json:
        print_json([each.as_json() for each in found])
    else:
        _print(found)
    if any(each.error for each in found):
        sys.exit(1)


def _load(model: str, uri: str, device: str) -> "Model":
    from side4video.inference.trained_model import load

    loaded = load(model, device, uri=uri)
    if not Path(model).is_dir():
        print_text(loaded.origin, err=True)
    return loaded


def _print_window(found: "StreamPrediction", *, as_json: bool) -> None:
    if as_json:
        document = {
            "start_seconds": round(found.start_seconds, 3),
            "end_seconds": round(found.end_seconds, 3),
            "labels": found.labels,
        }
        print_text(json.dumps(document, ensure_ascii=False))
        return
    labels = "  ".join(f"{label} {100 * score:.1f}%" for label, score in found.labels)
    print_text(f"{found.start_seconds:8.2f} to {found.end_seconds:.2f} s  {labels}")


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

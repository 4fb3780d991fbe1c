"""`side4video predict`: classify videos, or a camera, with a finished run or an exported folder."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.terminal.heartbeat import still_working
from side4video.terminal.options import FiniteRange, as_json, device, example, output_file, store_uri, video_seconds
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from side4video.inference.model import Model
    from side4video.inference.prediction import Prediction
    from side4video.inference.sliding_window import StreamPrediction

CHUNK = 32
"""Videos that are classified between two rows of progress."""


@click.command(
    short_help="Classify videos or a camera with a trained model.",
    epilog=example(
        "predict quickstart clip.mp4 --top 3",
        "predict quickstart clips --out found.csv",
        "predict quickstart --camera 0",
    ),
)
@click.argument("model")
@click.argument("videos", nargs=-1, metavar="[VIDEO]...")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the predictions to this file, with the scores of all classes: .csv or .jsonl (one document a line).",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=None,
    help="Number of classes to print. [default: 5; with --threshold all that reach it; of a stream 1]",
)
@click.option(
    "--threshold",
    type=FiniteRange(min=0, max=1),
    default=None,
    help="Print the classes with at least this score, such as 0.5 of a model with several labels.",
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
    type=FiniteRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Of a stream: how many of the newest seconds are classified.",
)
@click.option(
    "--calibrated",
    is_flag=True,
    help="Scale the scores by the temperature that was fitted on the validation split. The order of classes stays.",
)
@store_uri
@device
@video_seconds
@as_json
def predict(
    model: str,
    videos: tuple[str, ...],
    out: Path | None,
    top: int | None,
    threshold: float | None,
    camera: int | None,
    address: str | None,
    every: int,
    window_seconds: float,
    calibrated: bool,
    uri: str,
    device: str,
    video_seconds: float,
    as_json: bool,
) -> None:
    """Classify each VIDEO with MODEL, a run or an exported folder.

    A run is given by its id, the start of its id, or its name. `side4video export` writes such a folder. VIDEO is a
    file, a folder with videos, or a quoted pattern such as 'clips/**/*.mp4'. The exit code is 1 if a video cannot be
    read. Of a model with several heads, the most likely actions are printed, and the classes of each head.

    With --camera or --stream, a line is printed for each window of the newest seconds, until the stream ends or Ctrl-C.
    With --json, each line is a document.
    """
    from side4video.engine.process_group import checked_device, default_device

    source = camera if camera is not None else address
    if (source is None) == (not videos) or (camera is not None and address is not None):
        raise click.UsageError("Give VIDEO..., or --camera, or --stream.")
    device = str(checked_device(device or default_device(), where="--device"))
    if source is not None:
        loaded = _load(model, uri, device, calibrated=calibrated)
        top = 1 if top is None and threshold is None else top
        windows = loaded.stream(source, every=every, window_seconds=window_seconds, top=top, threshold=threshold)
        for each in windows:
            _print_window(each, as_json=as_json)
        return
    from side4video.inference.given_videos import expand_videos
    from side4video.inference.predictions_file import check_format, write_predictions

    if out is not None:
        check_format(out, "--out")
        output_file(out, "--out")
    paths = expand_videos(videos)
    loaded = _load(model, uri, device, calibrated=calibrated)
    made = _predicted(loaded, paths, top=top, threshold=threshold, limit_seconds=video_seconds)
    found = list(made if out is None else write_predictions(out, made, loaded, most=loaded.most_labels(top, threshold)))
    if as_json:
        print_json([each.as_json() for each in found])
    elif out is None:
        _print(found)
    if not as_json:
        _print_errors(found)
    broken = sum(bool(each.error) for each in found)
    if out is not None:
        print_text(f"written: {out}: {len(found)} videos, {broken} of them cannot be read", err=as_json)
    if broken:
        sys.exit(1)


def _predicted(
    model: "Model", paths: list[str], *, top: int | None, threshold: float | None, limit_seconds: float
) -> "Iterator[Prediction]":
    """Predictions as they are made; of many videos with progress."""
    from side4video.data.streams.timed_prefetch import timed_prefetcher
    from side4video.terminal.progress import ProgressView

    options: Any = {"top": top, "threshold": threshold, "prefetch": timed_prefetcher(limit_seconds)}
    if len(paths) <= CHUNK:
        with still_working(f"predict: classifying {len(paths)} video{'s' * (len(paths) > 1)}"):
            found = model.predict(paths, **options)
        yield from found
        return
    with ProgressView("predict") as view:
        for first in range(0, len(paths), CHUNK):
            view.report("classifying videos", first, len(paths))
            yield from model.predict(paths[first : first + CHUNK], **options)


def _load(model: str, uri: str, device: str, *, calibrated: bool) -> "Model":
    from side4video.inference.trained_model import load
    from side4video.spec.bundle import is_folder_name

    with still_working("predict: loading the model"):
        loaded = load(model, device, uri=uri, calibrated=calibrated)
    if not is_folder_name(model):
        print_text(loaded.origin, err=True)
    if loaded.calibration_note:
        print_text(f"note: {loaded.calibration_note}", err=True)
    return loaded


def _print_window(found: "StreamPrediction", *, as_json: bool) -> None:
    if as_json:
        document = {
            "start_seconds": round(found.start_seconds, 3),
            "end_seconds": round(found.end_seconds, 3),
            "labels": found.labels,
        }
        document |= {"heads": dict(found.head_labels)} if found.head_labels else {}
        print_text(json.dumps(document, ensure_ascii=False))
        return
    labels = "  ".join(f"{label} {100 * score:.1f}%" for label, score in found.labels)
    print_text(f"{found.start_seconds:8.2f} to {found.end_seconds:.2f} s  {labels}")


def _print_errors(found: "list[Prediction]") -> None:
    for each in found:
        if each.error:
            print_text(f"cannot be read: {each.video}: {each.error}", err=True)


def _print(found: "list[Prediction]") -> None:
    from rich.table import Table
    from rich.text import Text

    from side4video.core.text import printable
    from side4video.terminal.options import table_console

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("video", overflow="fold")
    if has_heads := any(each.head_labels for each in found):
        table.add_column("head")
    table.add_column("label")
    table.add_column("score", justify="right")
    for each in found:
        if each.error:
            continue  # printed below the table
        rows = [("action", *row) for row in each.labels]
        rows += [(head, *row) for head, labels in each.head_labels.items() for row in labels]
        for rank, (head, label, score) in enumerate(rows or [("", "none reaches the threshold", None)]):
            heading = [Text("" if rank and head == rows[rank - 1][0] else head)] if has_heads else []
            shown = "" if score is None else f"{100 * score:.1f}%"
            table.add_row(Text("" if rank else printable(each.video)), *heading, Text(printable(label)), shown)
    table_console().print(table)

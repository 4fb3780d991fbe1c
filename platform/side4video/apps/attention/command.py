"""`side4video attention`: where the frozen tower and the side network look in videos (the paper's Figure 6)."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.temporary import temporary_folder
from side4video.terminal.options import as_json, device, example, made_folder, store_uri, video_seconds
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.apps.attention.reader import AttentionMaps, AttentionReader

SIDE = "side network"
_STEM_LENGTH = 80


@click.command(
    short_help="Draw where the tower and the side network look in a video.",
    epilog=example("attention quickstart clip.mp4 --out attention"),
)
@click.argument("model", metavar="RUN")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("attention"),
    show_default=True,
    help="Folder for the pictures and films. Files of the same name are replaced.",
)
@click.option(
    "--film/--no-film", default=True, show_default=True, help="Also write an MP4 with the three panels side by side."
)
@store_uri
@device
@video_seconds
@as_json
def attention(
    model: str,
    videos: tuple[str, ...],
    out: Path,
    film: bool,
    uri: str,
    device: str,
    video_seconds: float,
    as_json: bool,
) -> None:
    """Draw where the frozen tower and the side network look in each VIDEO, frame by frame.

    RUN is a run of the side network, for recognition or retrieval: its id, the start of its id, or its name. It can
    also be a folder that `side4video export` wrote. The command writes NAME.png, NAME.pdf, NAME.svg and NAME.mp4 for
    each video. The text below each picture explains the maps. The exit code is 1 if a video cannot be read.
    """
    from side4video.apps.attention.reader import UnreadableVideo
    from side4video.data.streams.timed_prefetch import timed_prefetcher
    from side4video.engine.process_group import checked_device, default_device

    reader = _load(model, uri, str(checked_device(device or default_device(), where="--device")))
    folder = made_folder(out)
    names = _names(videos)
    document: list[dict[str, Any]] = []
    read = reader.read(videos, prefetch=timed_prefetcher(video_seconds))
    for video, result in zip(videos, read, strict=True):
        if isinstance(result, UnreadableVideo):
            document.append({"video": video, "files": [], "error": result.reason})
        else:
            files = _draw(folder / names[video], result, reader, film=film)
            answer = {"answer": result.answer} if result.answer else {}
            document.append({"video": video, "files": [str(file) for file in files], **answer})
        if not as_json:
            _print_result(document[-1])
    if as_json:
        print_json({"definitions": reader.definitions, "videos": document})
    if any("error" in each for each in document):
        sys.exit(1)


def _load(model: str, uri: str, device: str) -> "AttentionReader":
    from side4video.apps.attention.reader import AttentionReader, load_attention
    from side4video.spec.bundle import check_run_exists, is_folder_name

    if Path(model).is_dir() and is_folder_name(model):
        return load_attention(model, device)
    from side4video.runs.stored_run import class_names, fetch_trained, head_classes
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    check_run_exists(store, model)
    with temporary_folder() as scratch:
        run, weights, fingerprint = fetch_trained(store, model, scratch)
        return AttentionReader(
            run.spec,
            weights,
            classes=class_names(store, run),
            heads=head_classes(store, run),
            device=device,
            backbone_sha256=fingerprint,
        )


def _names(videos: tuple[str, ...]) -> dict[str, str]:
    """A file name for each video, from its own; the second of a name gets a number."""
    names: dict[str, str] = {}
    for video in videos:
        stem = re.sub(r"[^\w.-]+", "_", Path(video).stem).strip("._")[:_STEM_LENGTH] or "video"
        name, number = stem, 1
        while video not in names and name.lower() in {each.lower() for each in names.values()}:
            number += 1
            name = f"{stem}-{number}"
        names.setdefault(video, name)
    return names


def _draw(place: Path, result: "AttentionMaps", reader: "AttentionReader", *, film: bool) -> list[Path]:
    from side4video.apps.attention.figure import attention_figure, attention_film
    from side4video.core.text import printable
    from side4video.inference.video_folder import duration_seconds
    from side4video.reports.figures.style import FORMATS, save_figure

    tower = _tower_name(reader)
    maps = {tower: result.tower_TGG, SIDE: result.side_TGG}
    name = printable(Path(result.video).name)
    title = f"{name}: {result.answer}" if result.answer else name
    caption = (
        f"{tower[0].upper()}{tower[1:]}: {reader.definitions['tower']}. "
        f"Side network: {reader.definitions[SIDE]}. In multiples of an even spread over the patches; bright is more, "
        "each row in one scale for all frames, which ends at its 99th percentile."
    )
    figure = attention_figure(result.frames_THWC, maps, title=title, caption=caption)
    files = [save_figure(figure, place.with_name(f"{place.name}.{kind}")) for kind in FORMATS]
    if film:
        path = place.with_name(f"{place.name}.mp4")
        seconds = duration_seconds(Path(result.video)) if Path(result.video).is_file() else None
        files.append(attention_film(path, result.frames_THWC, maps, title=title, seconds=seconds))
    return files


def _tower_name(reader: "AttentionReader") -> str:
    """CLIP, EVA-CLIP, or what the document calls it."""
    backbone = reader.spec.backbone
    if backbone.kind == "open-clip":
        return "EVA-CLIP" if backbone.model.startswith("EVA") else "CLIP"
    return "CLIP" if backbone.has_text_tower else "frozen ViT"


def _print_result(document: dict[str, Any]) -> None:
    if "error" in document:
        print_text(f"{document['video']}: {document['error']}", err=True)
        return
    answer = f" ({document['answer']})" if "answer" in document else ""
    print_text(f"{document['video']}{answer}")
    for file in document["files"]:
        print_text(f"  written: {file}")

"""`side4video data pack`: a data set rewritten once, quick to read ever after."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from side4video.core.errors import InputError
from side4video.core.units import format_bytes, format_duration
from side4video.terminal.options import as_json, example, overrides, spec_file
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.apps.data_pack.encode import Codec, Encoding


@click.command(
    short_help="Rewrite the videos of a data set, smaller, into tar shards.",
    epilog=example("data pack my-experiment.yaml packed --short-side 256 --verify"),
)
@spec_file
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@overrides
@click.option(
    "--codec",
    type=click.Choice(["h264", "mjpeg", "copy"]),
    default="h264",
    show_default=True,
    help="h264 makes small files. mjpeg makes larger files whose single frames decode fast. copy keeps the files.",
)
@click.option(
    "--short-side",
    type=click.IntRange(min=16),
    default=256,
    show_default=True,
    help="Longest short side of a frame, in pixels.",
)
@click.option(
    "--quality",
    type=click.IntRange(0, 51),
    default=None,
    help="h264: 0 to 51, default 20. mjpeg: 2 to 31, default 5. Lower is better and larger.",
)
@click.option(
    "--keyframes", type=click.IntRange(min=1), default=16, show_default=True, help="h264: a key frame every N frames."
)
@click.option("--files-per-shard", type=click.IntRange(min=1), default=500, show_default=True, help="Videos per shard.")
@click.option(
    "--verify",
    is_flag=True,
    help="Read all shards again and compare them with their checksums. The exit code is 1 if one is wrong.",
)
@as_json
def pack(
    spec: str,
    folder: Path,
    overrides: tuple[str, ...],
    codec: str,
    short_side: int,
    quality: int | None,
    keyframes: int,
    files_per_shard: int,
    verify: bool,
    as_json: bool,
) -> None:
    """Rewrite the videos of SPEC's data set into tar shards in FOLDER.

    Frames are resized to the short side. All frames and their times are kept. A manifest and checksums are written
    beside the shards. An interrupted command continues where it stopped. Use the result with
    `dataset: {kind: packed, root: FOLDER}`.
    """
    from side4video.apps.data_pack.pack import Packing, repack
    from side4video.apps.data_pack.pack import verify as find_wrong
    from side4video.core.disk_errors import explaining_disk_errors
    from side4video.core.whole_folder import hold_folder
    from side4video.core.worker_pool import WorkerPool
    from side4video.spec.load import load_experiment
    from side4video.terminal.progress import ProgressView

    experiment = load_experiment(spec, overrides)
    encoding = _encoding(codec, short_side, quality, keyframes)
    if codec == "copy" and getattr(experiment.data.dataset, "frame_pattern", ""):
        raise InputError("--codec", "copy, and the videos are folders of frames", allowed="h264, mjpeg")
    begin = time.monotonic()
    with (
        hold_folder(folder),
        explaining_disk_errors(folder),
        ProgressView(unit="videos") as progress,
        WorkerPool() as pool,
    ):
        packed = repack(Packing(experiment.data, folder, encoding, pool, progress), files=files_per_shard)
        wrong = find_wrong(folder, packed.manifest, progress) if verify else []
    seconds = time.monotonic() - begin
    shards = packed.manifest.shards
    answer = {
        "folder": str(folder),
        "fingerprint": packed.manifest.fingerprint(),
        "source_fingerprint": packed.manifest.source,
        "clips": packed.clips,
        "videos": packed.videos,
        "encoded": packed.encoded,
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in shards),
        "left_out": list(packed.manifest.left_out),
        "wrong": wrong,
        "seconds": round(seconds, 2),
    }
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(answer, verifies=verify)
    if wrong:
        sys.exit(1)


def _encoding(codec: str, short_side: int, quality: int | None, keyframes: int) -> "Encoding":
    from side4video.apps.data_pack.encode import Encoding

    if codec == "mjpeg" and quality is not None and not 2 <= quality <= 31:
        raise InputError("--quality", f"{quality} for mjpeg", allowed="2 (best) to 31")
    usual = {"h264": 20, "mjpeg": 5, "copy": 0}[codec]
    return Encoding(cast("Codec", codec), short_side, usual if quality is None else quality, keyframes)


def _print(answer: dict[str, Any], *, verifies: bool) -> None:
    print_text(
        f"{answer['videos']} videos of {answer['clips']} clips in {answer['shards']} shards, "
        f"{format_bytes(answer['bytes'])}; {answer['encoded']} written now, in {format_duration(answer['seconds'])}"
    )
    for each in answer["left_out"]:
        print_text(f"left out: {' · '.join(filter(None, (each['origin'], each['path'])))}: {each['broken']}")
    for each in answer["wrong"]:
        print_text(f"wrong: {each}")
    if verifies and not answer["wrong"]:
        print_text("verified: every shard has the bytes that were written")
    print_text(f"fingerprint  {answer['fingerprint']}")
    print_text(f"use it with  dataset: {{kind: packed, root: {answer['folder']}}}")

"""Clips a second from disk to batch, beside a loader in the authors' style; both in one run, in turn.

    python benchmarks/loading.py [--workers 2] [--rounds 12] [--clips 32] [--ahead 6]

The plain loader is written from its description: decord opens the file and gives the batch of frames, each becomes a
PIL image, torchvision crops, resizes, flips and normalises image by image, torch's DataLoader stacks. One draw a clip,
as the authors' code has it. Clips of 10 s, 340 x 256, H.264, key frames 250 apart; 8 frames, random resized crop to 224
and flip. `ours, N epochs a decode` is the state after the first epoch, which gains nothing; `ours, packed as CODEC`
reads what `side4video data pack` made of the same clips. Quote ratios: times are the machine's. Writes
benchmarks/results/loading.json.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import av
import decord
import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as image

import bench
from phone_clips import ENCODERS, phone_clips
from side4video.apps.data_pack.encode import Codec, Encoding
from side4video.apps.data_pack.pack import Packing, repack
from side4video.core.worker_pool import WorkerPool
from side4video.data.clip import Clip
from side4video.data.datasets.packed import PackedSpec
from side4video.data.decode import clip_frames, frames, pyav_frames, transforms
from side4video.data.spec import DataSpec
from side4video.data.storage import file_size
from side4video.data.streams import reader
from side4video.data.streams.loader import TrainingStream
from side4video.data.streams.reader import TrainingKey, TrainingReader
from side4video.terminal.progress import ProgressView

FRAMES, SIZE, BATCH = 8, 224, 4
CODECS: tuple[Codec, ...] = ("h264", "mjpeg")
TARGET = 3.0


class PlainClips(Dataset[tuple[torch.Tensor, int]]):
    """The authors' style of a data set."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        video = decord.VideoReader(self.paths[index], num_threads=1)
        edges = np.linspace(0, len(video), FRAMES + 1).astype(int)
        wanted = [random.randrange(begin, end) for begin, end in pairwise(edges)]  # noqa: S311
        return augment_plain([Image.fromarray(frame) for frame in video.get_batch(wanted).asnumpy()]), index % 10


def augment_plain(images: list[Image.Image]) -> torch.Tensor:
    """One draw, applied image by image."""
    box = RandomResizedCrop.get_params(images[0], scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3])  # type: ignore[arg-type]
    is_flipped = random.random() < 0.5  # noqa: S311
    frames = []
    for each in images:
        shown = image.resized_crop(each, *box, [SIZE, SIZE], InterpolationMode.BILINEAR)
        shown = image.hflip(shown) if is_flipped else shown
        frames.append(image.normalize(image.to_tensor(shown), [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]))
    return torch.stack(frames)


def plain_loader(paths: Sequence[str], workers: int) -> DataLoader[Any]:
    return DataLoader(
        PlainClips(paths), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=True, multiprocessing_context="spawn",
    )  # fmt: skip


def our_spec(workers: int, **loader: object) -> DataSpec:
    return DataSpec.model_validate(
        {
            "dataset": {"kind": "motion"},  # not read: the clips are given
            "frames": FRAMES,
            "size": SIZE,
            "loader": {"workers": workers, **loader},
        }
    )


def our_clips(paths: Sequence[str]) -> list[Clip]:
    return [Clip(path, number % 10) for number, path in enumerate(paths)]


class Rates(NamedTuple):
    """Of a loader, round by round."""

    clips_per_s: list[float]
    cpu_ms_a_clip: list[float]
    """Of all processes together: what is left of a comparison when others keep the cores busy."""


def rates(loaders: dict[str, Callable[[int], Iterator[int]]], *, clips: int, rounds: int) -> dict[str, Rates]:
    """The loaders take turns; the first round starts processes and is not counted."""
    found = {name: Rates([], []) for name in loaders}
    for number in range(rounds + 1):
        for name, epoch in loaders.items():
            started, cpu = time.perf_counter(), _cpu_seconds()
            read = sum(epoch(number))
            assert read == clips, f"{name} gave {read} of {clips} clips"  # noqa: S101
            if number:
                found[name].clips_per_s.append(clips / (time.perf_counter() - started))
                found[name].cpu_ms_a_clip.append(1000 * (_cpu_seconds() - cpu) / clips)
    return found


def _cpu_seconds() -> float:
    """Of this process and those that decode for it; loaders that are not asked are idle."""
    process = psutil.Process()
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def timed(spent: dict[str, float], where: object, name: str, stage: str) -> Iterator[None]:
    """Count the seconds spent inside a function under a stage."""
    inner = getattr(where, name)

    def outer(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*arguments, **options)
        finally:
            spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - started

    with patch.object(where, name, outer):
        yield


def our_stages(paths: Sequence[str]) -> dict[str, float]:
    """Milliseconds a clip of each stage of this project's reader, in one process."""
    spent: dict[str, float] = {}
    with ExitStack() as stack:
        for where, name, stage in (
            (frames, "index_of", "open"),
            (pyav_frames, "shrink_frames", "shrink"),
            (clip_frames, "decode_frames", "frames"),
            (transforms, "resize_frames", "resize"),
            (reader, "augment_clip", "augmented"),
            (reader, "_stack", "collate"),
        ):
            stack.enter_context(timed(spent, where, name, stage))
        our_reader = TrainingReader(our_spec(0), our_clips(paths), positions=range(len(paths)), mirrored={})
        for begin in range(0, len(paths), BATCH):
            our_reader.read([TrainingKey(0, index) for index in range(begin, min(begin + BATCH, len(paths)))])
    spent["seek"] = sum(map(_seek, paths))
    stages = {
        "open": spent["open"],
        "seek": spent["seek"],
        "decode": spent["frames"] - spent["open"] - spent["seek"] - spent["shrink"],
        "resize": spent["resize"] + spent["shrink"],
        "augment": spent["augmented"] - spent["resize"],
        "collate": spent["collate"],
    }
    return {name: 1000 * seconds / len(paths) for name, seconds in stages.items()}


def _seek(path: str) -> float:
    with av.open(path) as container:
        started = time.perf_counter()
        container.seek(0, stream=container.streams.video[0])
        return time.perf_counter() - started


def plain_stages(paths: Sequence[str]) -> dict[str, float]:
    """Milliseconds a clip of each stage of the plain loader, in one process."""
    spent: dict[str, float] = {}
    with timed(spent, decord, "VideoReader", "open"), timed(spent, sys.modules[__name__], "augment_plain", "augment"):
        clips = PlainClips(paths)
        started = time.perf_counter()
        read = [clips[index] for index in range(len(paths))]
        whole = time.perf_counter() - started
    started = time.perf_counter()
    for begin in range(0, len(read), BATCH):
        torch.utils.data.default_collate(read[begin : begin + BATCH])
    spent["collate"] = time.perf_counter() - started
    stages = {"open": spent["open"], "decode": whole - spent["open"] - spent["augment"], **spent}
    return {name: 1000 * stages[name] / len(paths) for name in ("open", "decode", "augment", "collate")}


def our_epochs(stream: TrainingStream) -> Callable[[int], Iterator[int]]:
    """Clips of each batch of an epoch."""

    def epoch(number: int) -> Iterator[int]:
        for micro_batches in stream.batches(number):
            yield from map(len, micro_batches)

    return epoch


def packed_clips(paths: Sequence[str], folder: Path, codec: Codec) -> list[Clip]:
    """The clips as `side4video data pack` rewrites them."""
    listing = folder / "list.csv"
    rows = [f"{Path(path).name},{number % 10},train" for number, path in enumerate(paths)]
    listing.write_text("\n".join(["path,label,split", *rows, f"{Path(paths[0]).name},0,test", ""]))
    document = {"kind": "list", "annotations": str(listing), "root": str(Path(paths[0]).parent)}
    encoding = Encoding(codec, quality={"h264": 20, "mjpeg": 5, "copy": 0}[codec])
    with WorkerPool() as pool:
        data = DataSpec.model_validate({"dataset": document})
        repack(Packing(data, folder / codec, encoding, pool, ProgressView(unit="videos")), files=500)
    return PackedSpec(root=str(folder / codec)).clips("train")


def compare(
    paths: Sequence[str], packed: dict[str, list[Clip]], *, workers: int, ahead: int, rounds: int
) -> dict[str, Rates]:
    """Rates of the plain loader and of this project's: one epoch a decode and several, and of packed clips."""
    clips, several = our_clips(paths), {"epochs_per_decode": ahead}
    kinds: list[tuple[str, dict[str, object], list[Clip]]] = [("ours", {}, clips)]
    kinds += [(f"ours, {ahead} epochs a decode", several, clips)]
    kinds += [(f"ours, packed as {codec}", {}, rewritten) for codec, rewritten in packed.items()]
    streams = {
        name: TrainingStream(our_spec(workers, **loader), chosen, batch_size=BATCH, mirrored={})
        for name, loader, chosen in kinds
    }
    plain = plain_loader(paths, workers)
    loaders: dict[str, Callable[[int], Iterator[int]]] = {"plain": lambda _: (len(labels) for _, labels in plain)}
    loaders |= {name: our_epochs(stream) for name, stream in streams.items()}
    try:
        return rates(loaders, clips=len(paths), rounds=rounds)
    finally:
        for stream in streams.values():
            stream.close()
        plain._iterator = None


def measure(encoder: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates, ratios of the rounds and stages, for clips of one encoder."""
    paths = [str(path) for path in phone_clips(arguments.clips, encoder)]
    with TemporaryDirectory(prefix="side4video-") as folder:
        packed = {codec: packed_clips(paths, Path(folder), codec) for codec in CODECS}
        options = {"workers": arguments.workers, "ahead": arguments.ahead, "rounds": arguments.rounds}
        found = compare(paths, packed, **options)
        sizes = {
            codec: sum(file_size(clip.path) or 0 for clip in clips) / len(clips) for codec, clips in packed.items()
        }
    plain = found["plain"]
    ratios = {
        name: {
            "clips_per_s": _spread(a / b for a, b in zip(rate.clips_per_s, plain.clips_per_s, strict=True)),
            "cpu": _spread(b / a for a, b in zip(rate.cpu_ms_a_clip, plain.cpu_ms_a_clip, strict=True)),
        }
        for name, rate in found.items()
        if name != "plain"
    }
    return {
        "encoder": f"libx264 {ENCODERS[encoder]}",
        "mean_file_kib": statistics.mean(Path(path).stat().st_size for path in paths) / 2**10,
        "mean_packed_kib": {codec: size / 2**10 for codec, size in sizes.items()},
        "clips_per_s": {name: statistics.median(rate.clips_per_s) for name, rate in found.items()},
        "cpu_ms_a_clip": {name: statistics.median(rate.cpu_ms_a_clip) for name, rate in found.items()},
        "ratio": ratios,
        "stages_ms_a_clip": {"plain": plain_stages(paths), "ours": our_stages(paths)},
    }


def _spread(values: Iterable[float]) -> dict[str, float]:
    listed = list(values)
    return {"median": statistics.median(listed), "least": min(listed), "most": max(listed)}


def show(name: str, row: dict[str, Any]) -> None:
    """Rates and ratios, then the stages."""
    print(f"{name}: {row['encoder']}, {row['mean_file_kib']:.0f} KiB a clip")
    for loader, rate in row["clips_per_s"].items():
        print(f"  {loader:<26} {rate:7.1f} clips/s {row['cpu_ms_a_clip'][loader]:7.1f} ms of CPU a clip")
        for kind, ratio in row["ratio"].get(loader, {}).items():
            print(f"    {kind:<12} {ratio['median']:.2f} x plain ({ratio['least']:.2f} to {ratio['most']:.2f})")
    for loader, stages in row["stages_ms_a_clip"].items():
        print(f"  {loader:<6} ms a clip: " + ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--ahead", type=int, default=6, help="Epochs of one decode, where there are several.")
    arguments = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    torch.set_num_threads(1)
    rows = {}
    for encoder in ENCODERS:
        rows[encoder] = measure(encoder, arguments)
        show(encoder, rows[encoder])
    print(f"target: {TARGET:g} x plain")
    record = {
        "what": "clips per second of whole loaders in turn, ratios by round; milliseconds of stages in one process",
        "command": f"python benchmarks/loading.py --workers {arguments.workers} --rounds {arguments.rounds} "
        f"--clips {arguments.clips} --ahead {arguments.ahead}",
        "plain": "decord open (one thread), get_batch, PIL, torchvision image by image, torch DataLoader",
        "target": TARGET,
        "rows": rows,
    }
    print(bench.save("loading", record))


if __name__ == "__main__":
    main()

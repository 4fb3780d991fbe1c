"""Sources as users have them: folders, lists and captions of tiny videos; and a machine and weights to plan for."""

import csv
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from side4video.apps.init.settings import Weights
from side4video.apps.init.video_sample import VideoFacts
from side4video.core.units import GIB
from side4video.data.motion_render import write_video
from side4video.spec.machine import Gpu, Machine

CPU = Machine(cores=2, memory_bytes=16 * GIB)
GPU = Machine(cores=8, memory_bytes=64 * GIB, gpus=(Gpu("a GPU", 24 * GIB, has_bfloat16=True),))
WEIGHTS = Weights("ViT-B-32-quickgelu", "openai", "These weights are in the cache of this machine.", is_here=True)
SMALL = (
    "backbone={kind: vit, image_size: 32, patch_size: 8, width: 32, layers: 2, head_width: 8, weights: {kind: random}, "
    "precision: fp32}",
    "method={kind: side4video, layers: 2, dim: 64}",
    "data.size=32",
)
"""Settings that make a plan quick."""
SMALL_WITH_TEXT = (
    SMALL[0].replace(", precision", ", text: {kind: transformer, width: 64, layers: 1}, precision"),
    "method={kind: side4video, preset: authors, layers: 2, dim: 64}",
    "data.size=32",
)
"""The same for retrieval."""


@functools.cache
def video_bytes(frames: int = 12, height: int = 48, width: int = 64) -> bytes:
    """An H.264 video in MP4, at 8 frames a second."""
    moving = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.full((frames, height, width, 3), 9, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_video(Path(folder) / "a.mp4", moving)
        return (Path(folder) / "a.mp4").read_bytes()


def put(path: Path, content: bytes | None = None) -> Path:
    """Write a video; an empty file costs less, where nothing is opened: `put(path, b"")`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(video_bytes() if content is None else content)
    return path


def class_folders(root: Path, classes: Mapping[str, int], *, content: bytes | None = None, name="{}.mp4") -> Path:
    """A folder for each class with so many videos."""
    for label, count in classes.items():
        for number in range(count):
            put(root / label / name.format(number), content)
    return root


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def good(paths: Sequence[str], seconds: float) -> Iterator[tuple[str, VideoFacts]]:
    """Opens no video, and says that all are good."""
    for path in paths:
        yield path, VideoFacts(320, 240, 25.0, 2.0)

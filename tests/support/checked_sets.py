"""Small data sets of real clips to be checked: whole ones, to which a test does one thing."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from side4video.apps.data_check.check import CheckResult, check_dataset
from side4video.apps.data_check.findings import Problem, find_problems
from side4video.apps.data_check.listing import list_clips
from side4video.apps.data_check.saved import SavedResults
from side4video.core.progress import SILENT, Progress
from side4video.core.worker_pool import WorkerPool
from side4video.data.motion_render import write_video
from side4video.data.spec import DataSpec

FRAMES = 8
CLIPS = {"train": ("a.mp4", "b.mp4", "c.mp4", "d.mp4"), "test": ("e.mp4", "f.mp4")}
LABELS = ("waving", "walking")


def write_clip(path: Path, seed: int, frames: int = FRAMES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (frames, 4, 6, 3), dtype=np.uint8)
    write_video(path, noise.repeat(8, axis=1).repeat(8, axis=2))


def write_list(folder: Path, rows: list[list[str]]) -> dict[str, Any]:
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split", "start", "end"], *rows])
    return {"kind": "list", "annotations": str(folder / "list.csv")}


def write_captions(folder: Path, **fields: Any) -> dict[str, Any]:
    """The same clips with captions in place of labels."""
    entries = [
        {"path": name, "captions": [f"clip {name}", "a second one"], "split": split}
        for split, names in CLIPS.items()
        for name in names
    ]
    (folder / "captions.json").write_text(json.dumps(entries), encoding="utf-8")
    return {"kind": "captions", "annotations": str(folder / "captions.json"), **fields}


def list_rows() -> list[list[str]]:
    return [
        [name, LABELS[number % 2], split, "", ""] for split, names in CLIPS.items() for number, name in enumerate(names)
    ]


def make_clips(folder: Path) -> Path:
    """The clips of all splits, each of its own pixels."""
    for number, name in enumerate(name for names in CLIPS.values() for name in names):
        write_clip(folder / name, number)
    return folder


def data_of(dataset: dict[str, Any], **changes: Any) -> DataSpec:
    document = {"dataset": dataset, "frames": 4, "size": 32, "decoder": "pyav", **changes}
    return DataSpec.model_validate(document)


def check(
    data: DataSpec, pool: WorkerPool, place: Path, *, sample: int | None = None, progress: Progress = SILENT
) -> tuple[CheckResult, list[Problem]]:
    """Walk the set; what is kept lies in the file `place`."""
    with SavedResults(place, data) as saved:
        checked = check_dataset(
            data, list_clips(data.dataset), sample=sample, pool=pool, saved=saved, progress=progress
        )
    return checked, find_problems(checked, data.frames)

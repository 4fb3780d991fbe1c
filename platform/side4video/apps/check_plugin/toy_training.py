"""A toy experiment of three steps, in which methods of plug-ins are tried."""

import contextlib
import copy
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from side4video.core.errors import Interrupted
from side4video.engine.epoch_callback import Report
from side4video.engine.preemption import StopRequest
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import checkpoint_source
from side4video.run import RunContext, run
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment

WEIGHTS = "weights.safetensors"
DOCUMENT: Mapping[str, Any] = {
    "backbone": {
        "kind": "vit",
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "layers": 12,
        "head_width": 8,
        "output_dim": 24,
        "text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8},
        "weights": {"kind": "random", "seed": 0},
        "precision": "fp32",
    },
    "data": {
        "dataset": {"kind": "motion", "train_clips": 20, "test_clips": 10, "frames": 8, "size": 32},
        "size": 32,
        "frames": 8,
        "decoder": "pyav",
        "loader": {"workers": 0},
        "augmentation": {"flip_probability": 0},
    },
    "optimization": {"batch_size": 4, "length": {"epochs": 0, "steps": 3}, "warmup": {"steps": 1}, "precision": "fp32"},
    "cluster": {"cpus_per_worker": 1, "gpus_per_worker": 0},
}


def toy_experiment(source: str, method: Mapping[str, Any], *, task: str) -> Experiment:
    """An experiment with a method of a plug-in.

    Raises:
        InputError: The method does not fit it.
    """
    document = {**copy.deepcopy(dict(DOCUMENT)), "plugins": [source], "method": dict(method), "task": {"kind": task}}
    return parse_experiment(document, source="the toy experiment")


def train(experiments: Mapping[str, Experiment], *, is_stopped: bool = False) -> dict[str, bytes]:
    """The weights after three steps, as the bytes of their file, by student; `is_stopped`: with a stop in between."""
    process = ProcessGroup()
    with tempfile.TemporaryDirectory(prefix="side4video-check-") as place:
        folder = Path(place)
        first, second = folder / "first", folder / "second"
        if is_stopped:
            with contextlib.suppress(Interrupted):
                run(experiments, _context(process, folder, first, stops_after=1))
        run(experiments, _context(process, folder, second, resume_from=first if is_stopped else None))
        return {name: (second / name / WEIGHTS).read_bytes() for name in experiments}


def _context(
    process: ProcessGroup, folder: Path, kept: Path, *, stops_after: int = 0, resume_from: Path | None = None
) -> RunContext:
    asked = 0

    def stop_request() -> StopRequest:
        nonlocal asked
        asked += 1
        return StopRequest.LEAVE if asked == stops_after else StopRequest.NOTHING

    def store(report: Report) -> None:
        if report.checkpoint is not None:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(report.checkpoint, kept)

    sources = [checkpoint_source(resume_from)] if resume_from else []
    scratch = Path(tempfile.mkdtemp(dir=folder))
    return RunContext(process, scratch, store, sources, stop_request=stop_request, threads=1, evaluated_clips=4)

"""How fast an exported model is on this machine: decoding, and the network, measured apart.

The network is measured on frames that are made up, with a tower of random weights: its speed depends on neither. So
nothing is downloaded. Decoding is measured on test videos of the run, if they are on this machine.

Legend: B clips (1), T frames, C channels, H, W pixels.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from side4video.apps.export.graph import ScoresOfFrames
from side4video.core.errors import InputError
from side4video.core.units import format_bytes
from side4video.data.clip import Clip
from side4video.data.spec import DataSpec
from side4video.data.streams.reader import EvaluationKey, EvaluationReader
from side4video.engine.process_group import default_device
from side4video.inference.data_section import for_files
from side4video.inference.model import Model
from side4video.models.backbones.weights import RandomWeights
from side4video.spec.experiment import Experiment
from side4video.tracking.environment import describe

BUDGET_SECONDS = 5.0
"""For both measurements together. One pass is never cut short, so a slow network may take longer."""
MOST_RUNS = 30
MOST_VIDEOS = 30

Clock = Callable[[], float]


@dataclass(frozen=True)
class Rate:
    """A measured speed."""

    videos_per_s: float
    runs: int
    """Runs that the median is of."""


@dataclass(frozen=True)
class Speed:
    """What was measured, and on what."""

    network: Rate
    """Tower, side network and head, over all views of a video."""
    decoding: Rate | None
    """Decoding, resizing and cropping by one process; None if there was no video."""
    device: str
    threads: int
    """Of the CPU."""
    frames: int
    size: int
    views: int
    precision: str

    def __str__(self) -> str:
        """One line for people."""
        decoding = (
            f"{self.decoding.videos_per_s:.3g} videos/s (median of {self.decoding.runs}, one process)"
            if self.decoding
            else "not measured, because no test video is at hand"
        )
        views = f"{self.views} views" if self.views > 1 else "1 view"
        return (
            f"decoding: {decoding}; network: {self.network.videos_per_s:.3g} videos/s (median of {self.network.runs}); "
            f"on {self.device}, {self.threads} CPU threads, batch 1, {self.frames} frames of {self.size} x {self.size} "
            f"pixels, {views}, {self.precision}"
        )

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def measure_speed(
    spec: Experiment,
    classes: Sequence[str],
    weights: Path,
    *,
    heads: Mapping[str, Sequence[str]] | None = None,
    clock: Clock = time.perf_counter,
    budget_seconds: float = BUDGET_SECONDS,
) -> Speed:
    """Measure a model on the first GPU, or on the CPU; half of the time each for decoding and the network.

    `weights` is the safetensors file of the student. Building the model takes time too, outside the budget.

    Raises:
        InputError: The tower would take more than half of the memory that is free, or cannot be built.
    """
    _check_memory(spec)
    random_tower = spec.backbone.model_copy(update={"weights": RandomWeights()})
    device = default_device()
    model = Model(spec.model_copy(update={"backbone": random_tower}), classes, weights, heads=heads, device=device)
    views = spec.data.views.total
    network = rate(_network_run(model), clock=clock, budget_seconds=budget_seconds / 2, views=views)
    found = describe()
    return Speed(
        network=network,
        decoding=_decoding(spec.data, clock, budget_seconds / 2),
        device=found.get("gpu", found["cpu"]) if device != "cpu" else found["cpu"],
        threads=torch.get_num_threads(),
        frames=spec.data.frames,
        size=spec.data.size,
        views=views,
        precision=spec.evaluation.precision,
    )


def rate(run: Callable[[], object], *, clock: Clock, budget_seconds: float, views: int = 1) -> Rate:
    """The speed of a run that handles one of `views` views of a video.

    The first run is not counted, because it also allocates and compiles; it counts only if there is no time for a
    second one. The last run begins early enough to end within the budget, if it takes as long as the others.
    """
    began = clock()
    run()
    first, durations = clock() - began, []
    while len(durations) < MOST_RUNS and clock() - began + statistics.median(durations or [first]) <= budget_seconds:
        start = clock()
        run()
        durations.append(clock() - start)
    seconds = statistics.median(durations or [first])
    return Rate(1 / (seconds * views) if seconds > 0 else float("inf"), max(1, len(durations)))


def _network_run(model: Model) -> Callable[[], object]:
    """One pass of one view; on a GPU it ends when its result is there."""
    data, device = model.spec.data, model.process.device
    video_BTCHW = torch.randint(0, 256, (1, data.frames, 3, data.size, data.size), dtype=torch.uint8, device=device)
    scores = ScoresOfFrames(model).eval()

    def run() -> object:
        with torch.no_grad(), model.student.autocast(model.spec.evaluation.precision):
            return scores(video_BTCHW).cpu()

    return run


def _decoding(data: DataSpec, clock: Clock, budget_seconds: float) -> Rate | None:
    clips = _at_hand(data)
    if not clips:
        return None
    reader, numbers = EvaluationReader(for_files(data, workers=0), clips), itertools.cycle(range(len(clips)))

    def run() -> None:
        number = next(numbers)
        if reader.read([EvaluationKey(number, view) for view in range(data.views.clips)]).broken:
            raise _UnreadableVideo

    with suppress(_UnreadableVideo):
        return rate(run, clock=clock, budget_seconds=budget_seconds)
    return None


class _UnreadableVideo(Exception):
    """A test video is there and cannot be read."""


def _at_hand(data: DataSpec) -> list[Clip]:
    """Test clips whose files are on this machine; nothing is generated or downloaded."""
    try:
        clips = data.listed.clips("test")
    except (InputError, OSError):
        return []
    there = (clip for clip in clips if (os.path.isdir if clip.frame_pattern else os.path.isfile)(clip.path))
    return list(itertools.islice(there, MOST_VIDEOS))


def _check_memory(spec: Experiment) -> None:
    tower = spec.tower
    wanted = 12 * tower.depth * tower.width**2 * 4  # blocks of a vision transformer, fp32
    free = psutil.virtual_memory().available
    if wanted > free / 2:
        raise InputError("speed", f"the tower takes about {format_bytes(wanted)}, and {format_bytes(free)} are free")

"""The page of `side4video demo`: test clips with the answers of both models, learning curves, memory."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.core.units import GIB, format_bytes
from side4video.data.decode.frames import decode_frames
from side4video.reports.figures.curves import arm_curves_figure, curves_of, read_history
from side4video.reports.figures.figure import figure_html
from side4video.reports.figures.predictions import PREDICTIONS
from side4video.reports.render import render
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text

if TYPE_CHECKING:
    import numpy as np

    from side4video.data.dataset_spec import DatasetSpec

CLIPS = 6
FRAME_MS = 120
METRIC, LOSS = "eval/top1", "eval/loss"


@dataclass(frozen=True)
class Answer:
    """What a model says of a clip."""

    model: str
    label: str
    score: float
    """The model's probability of `label`."""
    is_right: bool


@dataclass(frozen=True)
class ShownClip:
    """A test clip and the answers."""

    label: str
    animation: bytes
    """Animated WebP, endless."""
    answers: tuple[Answer, ...]


def demo_page(
    store: RunStore,
    runs: Mapping[str, StoredRun],
    dataset: "DatasetSpec",
    *,
    next_steps: Sequence[tuple[str, str]],
    seconds: Mapping[str, float],
) -> str:
    """Render the page.

    Args:
        store: It holds the runs.
        runs: Finished runs of action recognition on the same data, by the model's name in words.
        dataset: The data set of the runs; the page shows the first test clip of each of its first classes.
        next_steps: Commands and what each does.
        seconds: Where the time of the demo went, by phase.

    Raises:
        InputError: A run has no predictions.
        BrokenClip: A clip cannot be read.
    """
    curves = {name: curves_of(read_history(store, run, (LOSS, METRIC))) for name, run in runs.items()}
    return render(
        "demo.html.j2",
        title="Two models, one pass of a frozen backbone",
        models=[
            {
                "name": name,
                "accuracy": 100 * run.metrics[METRIC],
                "parameters": run.metrics["model/trainable_parameters"],
                "planned": format_bytes(run.metrics["plan/held_for_backward_gib"] * GIB),
                "measured": format_bytes(run.metrics["memory/held_for_backward_gib"] * GIB),
                "peak": format_bytes(run.metrics["plan/peak_memory_gib"] * GIB),
            }
            for name, run in runs.items()
        ],
        videos=round(next(iter(runs.values())).metrics["eval/videos"]),
        classes=len(dataset.classes()),
        clips=shown_clips(store, runs, dataset),
        figure=figure_html(arm_curves_figure(curves, METRIC)),
        next_steps=next_steps,
        seconds=[(phase, took) for phase, took in seconds.items() if took >= 0.5],
    )


def shown_clips(store: RunStore, runs: Mapping[str, StoredRun], dataset: "DatasetSpec") -> list[ShownClip]:
    """The first test clip of each class, for the first classes; none is chosen for its answers."""
    classes, clips = dataset.classes(), dataset.clips("test")
    answers = {name: _answers(store, name, run) for name, run in runs.items()}
    found: dict[int, int] = {}
    for index, clip in enumerate(clips):
        if clip.label is not None:
            found.setdefault(clip.label, index)
    return [
        ShownClip(
            classes[label],
            animate(decode_frames(clips[index].path, lambda count: list(range(count)))[0]),
            tuple(each[index] for each in answers.values()),
        )
        for label, index in sorted(found.items())[:CLIPS]
    ]


def _answers(store: RunStore, name: str, run: StoredRun) -> dict[int, Answer]:
    rows = csv.DictReader(artifact_text(store, run.run_id, PREDICTIONS, default="").splitlines())
    found = {
        int(row["index"]): Answer(name, row["prediction"], float(row["score"]), row["prediction"] == row["label"])
        for row in rows
    }
    if not found:
        raise InputError(f"run {run.name} ({run.run_id[:8]})", "has no predictions", fix="run it again")
    return found


def animate(frames_THWC: "np.ndarray", *, milliseconds: int = FRAME_MS) -> bytes:
    """An endless animated WebP of uint8 RGB frames, without loss. The last frame stays four times as long."""
    from PIL import Image

    first, *others = [Image.fromarray(frame_HWC) for frame_HWC in frames_THWC]
    file = io.BytesIO()
    durations = [milliseconds] * len(others) + [4 * milliseconds]
    first.save(file, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, lossless=True)
    return file.getvalue()

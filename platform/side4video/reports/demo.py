"""The page of `side4video demo`: test clips with the answers of both models, learning curves, memory."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from side4video.core.units import GIB, format_bytes
from side4video.data.decode.frames import decode_frames
from side4video.reports.figures.curves import arm_curves_figure, curves_of, read_history
from side4video.reports.figures.figure import figure_html
from side4video.reports.figures.predictions import Prediction, read_predictions
from side4video.reports.render import render
from side4video.tracking.run_store import RunStore, StoredRun

if TYPE_CHECKING:
    import numpy as np

    from side4video.data.dataset_spec import DatasetSpec

CLIPS = 6
FRAME_MS = 120
METRIC, LOSS = "eval/top1", "eval/loss"


@dataclass(frozen=True)
class ShownClip:
    """A test clip and the answers."""

    label: str
    animation: bytes
    """Animated WebP, endless."""
    answers: Mapping[str, Prediction]
    """By the name of the model."""


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
    answers = {name: {each.index: each for each in read_predictions(store, run).videos} for name, run in runs.items()}
    found: dict[int, int] = {}
    for index, clip in enumerate(clips):
        if clip.label is not None:
            found.setdefault(clip.label, index)
    return [
        ShownClip(
            classes[label],
            animate(decode_frames(clips[index].path, lambda count: list(range(count)))[0]),
            {name: each[index] for name, each in answers.items()},
        )
        for label, index in sorted(found.items())[:CLIPS]
    ]


def animate(frames_THWC: "np.ndarray", *, milliseconds: int = FRAME_MS) -> bytes:
    """An endless animated WebP of uint8 RGB frames, without loss. The last frame stays four times as long."""
    from PIL import Image

    first, *others = [Image.fromarray(frame_HWC) for frame_HWC in frames_THWC]
    file = io.BytesIO()
    durations = [milliseconds] * len(others) + [4 * milliseconds]
    first.save(file, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, lossless=True)
    return file.getvalue()

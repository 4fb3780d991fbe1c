"""The page of a run: values beside chance, learning curves, memory, what is confused, clips right and wrong."""

import io
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.files import write_atomically
from side4video.core.paths import home
from side4video.core.units import GIB, format_bytes, format_duration
from side4video.reports.figures.calibration import calibration_figure, read_calibration
from side4video.reports.figures.confusion import confusion_figure, confusion_of
from side4video.reports.figures.curves import run_curves_figure
from side4video.reports.figures.figure import ReportFigure, figure_html
from side4video.reports.figures.predictions import Prediction, read_predictions
from side4video.reports.render import render
from side4video.runs.run_result import run_seconds
from side4video.spec.chance import always_reached, chance_metrics, metric_name
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import is_of_head, metric_spec, metric_title
from side4video.tracking.chosen_weights import choose_weights, describe_weights, tested_weights
from side4video.tracking.run_store import RunStore, StoredRun

if TYPE_CHECKING:
    import numpy as np

PAGE = "page.html"
"""Name of the page among the artifacts of its run."""
SHOWN_CLIPS = 6
"""Clips with a right answer, and as many with a wrong one."""
SHOWN_FRAMES = 4
_PICTURE_HEIGHT = 112
SCALED = ("eval/calibration_error_scaled", "eval/nll_scaled", "eval/temperature")
"""Further values of a run with a validation split."""
_MEMORY = (
    ("held for backward", "held_for_backward_gib", "memory/held_for_backward_gib"),
    ("peak of a worker", "peak_memory_gib", "memory/peak_gib"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownClip:
    """A test clip with its answer."""

    answer: Prediction
    path: str
    picture: bytes
    """JPEG: some of the frames that the model saw, side by side."""


def save_run_page(store: RunStore, run_id: str, spec: Experiment) -> Path | None:
    """Write the page of a finished run to the home folder and to the run's artifacts; returns the file.

    A page that cannot be made ends no run: a warning says why, and the result is None.
    """
    run = store.get(run_id)
    file = home() / "pages" / f"{run.name}-{run_id[:8]}.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, run_page(store, run, spec))
        store.log_file(run_id, file, PAGE)
    except (Side4VideoError, OSError) as error:
        log.warning("the page of run %s was not written: %s", run_id[:8], error)
        return None
    return file


def run_page(store: RunStore, run: StoredRun, spec: Experiment) -> str:
    """Render the page of a run.

    Raises:
        InputError: It was never evaluated, or its data set cannot be listed.
    """
    figures: list[ReportFigure] = [run_curves_figure(store, run)]
    right: list[ShownClip] = []
    wrong: list[ShownClip] = []
    if spec.task.kind == "recognition" and run.params.get("task.kind", "recognition") == "recognition":
        predictions = read_predictions(store, run)
        figures.append(confusion_figure(confusion_of(predictions), run=run.name))
        with suppress(InputError):  # runs of version 0.1.0, and scores that are not finite
            figures.append(calibration_figure(read_calibration(store, run), run=run.name))
        right, wrong = shown_clips(spec, predictions.videos)
    return render(
        "run.html.j2",
        title=f"Run {run.name}",
        run=run,
        which=describe_weights(run.metrics, tested_weights(run.metrics)),
        chosen=describe_weights(run.metrics, choose_weights(spec.evaluation.choose_epoch, run.metrics)),
        values=value_rows(run, spec),
        memory=memory_rows(run),
        facts=_facts(run, spec),
        figures=map(figure_html, figures),
        right=right,
        wrong=wrong,
        commands=_commands(run, spec),
    )


def value_rows(run: StoredRun, spec: Experiment) -> list[tuple[str, str, str]]:
    """Title, value and chance level of each test metric; those that every guess reaches are left out."""
    chance, left_out = chance_metrics(spec), always_reached(spec)
    keys = [f"eval/{metric.name}" for metric in spec.metrics]
    if spec.task.kind == "multi-head":  # those of each head
        keys += [key for key in run.metrics if is_of_head(key) and key not in keys]
    rows = []
    for key in (*keys, *SCALED, "eval/loss"):
        if key in run.metrics and metric_name(key) not in left_out:
            guess = metric_spec(key).text(chance[key]) if key in chance else ""
            rows.append((metric_title(key), metric_spec(key).text(run.metrics[key]), guess))
    return rows


def memory_rows(run: StoredRun) -> list[tuple[str, str, str]]:
    """What, planned, and measured; the peak is planned for a GPU, and measured on one only."""
    rows = []
    for title, planned, measured in _MEMORY:
        is_measured = measured in run.metrics and (
            measured != "memory/peak_gib" or "memory/reserved_gib" in run.metrics
        )
        rows.append((title, _bytes(run, f"plan/{planned}"), _bytes(run, measured) if is_measured else "not on a GPU"))
    return rows


def shown_clips(spec: Experiment, videos: Sequence[Prediction]) -> tuple[list[ShownClip], list[ShownClip]]:
    """The first clips of the list that are right, and those that are wrong with the highest scores."""
    right = [each for each in videos if each.is_right][:SHOWN_CLIPS]
    wrong = sorted((each for each in videos if not each.is_right), key=lambda each: -each.score)[:SHOWN_CLIPS]
    return _with_pictures(spec, right), _with_pictures(spec, wrong)


def _with_pictures(spec: Experiment, answers: Sequence[Prediction]) -> list[ShownClip]:
    from side4video.data.decode.video_source import BrokenClip
    from side4video.data.streams.reader import EvaluationKey, EvaluationReader

    clips = spec.data.listed.clips("test")
    reader = EvaluationReader(spec.data, clips)
    shown = []
    for answer in answers:
        try:
            batch = reader.read([EvaluationKey(answer.index, 0)])
        except BrokenClip as error:  # it could be read in the run: perhaps on another machine
            log.info("%s: no picture: %s", error.path, error.reason)
            continue
        if len(batch):
            frames_TCHW = batch.video_BTCHW[len(batch) // 2].numpy()
            shown.append(ShownClip(answer, clips[answer.index].path.rpartition("/")[2], film_strip(frames_TCHW)))
    return shown


def film_strip(frames_TCHW: "np.ndarray") -> bytes:
    """A JPEG of `SHOWN_FRAMES` frames, evenly spaced, side by side; uint8 RGB frames."""
    import numpy as np
    from PIL import Image

    count = len(frames_TCHW)
    chosen = sorted({round(place) for place in np.linspace(0, count - 1, min(SHOWN_FRAMES, count))})
    strip_HWC = np.concatenate([frames_TCHW[index].transpose(1, 2, 0) for index in chosen], axis=1)
    image = Image.fromarray(np.ascontiguousarray(strip_HWC))
    width = round(image.width * _PICTURE_HEIGHT / image.height)
    file = io.BytesIO()
    image.resize((width, _PICTURE_HEIGHT), Image.Resampling.BILINEAR).save(file, "JPEG", quality=85)
    return file.getvalue()


def _bytes(run: StoredRun, key: str) -> str:
    return format_bytes(run.metrics[key] * GIB) if key in run.metrics else ""


def _facts(run: StoredRun, spec: Experiment) -> list[tuple[str, str]]:
    metrics = run.metrics
    facts = [
        ("method", f"{spec.method.kind} on {getattr(spec.backbone, 'model', spec.backbone.kind)}"),
        ("data set", f"{spec.data.dataset.kind}, {metrics.get('eval/videos', 0):.0f} test videos evaluated"),
        ("trained parameters", f"{metrics.get('model/trainable_parameters', 0):,.0f}"),
        ("steps", f"{metrics.get('train/steps_trained', 0):,.0f}"),
        ("training", f"{metrics.get('time/mean_clips_per_s', 0):.1f} clips/s"),
        ("time", format_duration(run_seconds(run))),
        ("broken clips", f"{metrics.get('data/broken_clips', 0):.0f}"),
        ("machine", run.tags.get("side4video.resources", "")),
    ]
    return [(name, value) for name, value in facts if value]


def _commands(run: StoredRun, spec: Experiment) -> list[tuple[str, str]]:
    short = run.run_id[:8]
    uses = {
        "retrieval": [(f"side4video search {short} FOLDER TEXT", "find videos by a text")],
        "recognition": [(f"side4video predict {short} VIDEO", "use it on a video")],
    }
    return [
        *uses.get(spec.task.kind, []),
        (f"side4video evaluate {short}", "evaluate it again, also with other views"),
        ("side4video ui", "compare it with other runs"),
    ]

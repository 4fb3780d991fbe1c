"""The reliability diagram of a run: how often its answers are right by their confidence, before and after scaling."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import BLUE, INK, SOFT, TEXT, label_axes, new_figure, style_axes
from side4video.tasks.recognition.score_metrics import BINS, calibration_error
from side4video.tasks.recognition.temperature import TEMPERATURE, Reliability, reliability, scale_scores
from side4video.tracking.chosen_weights import temperature_note
from side4video.tracking.run_store import RunStore, StoredRun

SCORES = "scores.npz"


@dataclass(frozen=True)
class Calibration:
    """The scores of a run's labelled test videos, and the temperature of its validation split."""

    scores_NC: NDArray[np.float64]
    labels_N: NDArray[np.int64]
    temperature: float | None
    """None without a validation split."""
    note: str = ""
    """Why the temperature says little; empty if nothing is known against it."""


def read_calibration(store: RunStore, run: StoredRun) -> Calibration:
    """The stored scores of a run.

    Raises:
        InputError: It has none, or none that are finite.
    """
    where = f"run {run.name} ({run.run_id[:8]})"
    if (kind := run.params.get("task.kind", "recognition")) not in ("recognition", "retrieval"):
        found = f"is of {kind}, whose scores are not those of one label"
        raise InputError(where, found, allowed="a run of action recognition", fix="name another run")
    try:
        with temporary_folder() as folder, np.load(store.download(run.run_id, SCORES, folder)) as stored:
            scores_VC, labels_V = stored["scores"].astype(np.float64), stored["labels"]
    except InputError as error:
        raise InputError(where, "has no scores", allowed="a finished run of action recognition") from error
    has_label_V = labels_V >= 0
    scores_NC, labels_N = scores_VC[has_label_V], labels_V[has_label_V]
    if not len(labels_N) or not np.isfinite(scores_NC).all():
        raise InputError(where, "has no finite scores of videos with labels", allowed="a run that was evaluated")
    value = run.metrics.get(f"eval/{TEMPERATURE}", math.nan)
    if not math.isfinite(value):
        return Calibration(scores_NC, labels_N, None)
    return Calibration(scores_NC, labels_N, value, temperature_note(run.metrics, value))


def calibration_figure(found: Calibration, *, run: str) -> ReportFigure:
    """The diagram, as Guo et al. (2017), Figure 1: one part, or two if there is a temperature.

    `run` is what the run is called.
    """
    parts = [("scores as they are", found.scores_NC)]
    if found.temperature is not None:
        scaled_NC = scale_scores(found.scores_NC, found.temperature)
        parts.append((f"scaled, T = {found.temperature:.3g}", scaled_NC))
    figure = new_figure(0.6 + 3.4 * len(parts), 3.6, layout="constrained")
    numbers, errors = [], []
    for axes, (title, scores_NC) in zip(np.atleast_1d(figure.subplots(1, len(parts))), parts, strict=True):
        bins, error = reliability(scores_NC, found.labels_N), calibration_error(scores_NC, found.labels_N)
        _draw(axes, bins, f"{title}: error {100 * error:.1f}%")
        errors.append(f"{100 * error:.1f}%")
        numbers.append({"title": title, "calibration_error": error, "bins": _rows(bins)})
    caption = (
        f"{run}: share of right videos by the highest score, in {BINS} bins, on {len(found.labels_N):,} test videos. "
        "Bars on the diagonal are calibrated; bars below it are too confident. "
    )
    caption += (
        f"The temperature was fitted on the validation split. Calibration error {errors[0]} before, {errors[1]} after."
        if found.temperature is not None
        else f"Calibration error {errors[0]}. Without a validation split there is no temperature."
    )
    if found.note:
        caption += f" Note: {found.note}."
    return ReportFigure(
        "calibration", "Calibration", caption, figure, {"temperature": found.temperature, "parts": numbers}
    )


def _draw(axes: Axes, bins: Reliability, title: str) -> None:
    style_axes(axes)
    there = bins.videos_B > 0
    centres_B = (np.arange(BINS) + 0.5) / BINS
    axes.bar(100 * centres_B[there], 100 * bins.accuracy_B[there], 90 / BINS, color=BLUE)
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle="--")
    axes.plot(100 * bins.confidence_B[there], 100 * bins.accuracy_B[there], ".", color=INK, markersize=4)
    axes.set_title(title, fontsize=TEXT, color=INK)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_aspect("equal")
    label_axes(axes, x="highest score, %", y="right videos, %")


def _rows(bins: Reliability) -> list[dict[str, float | int | None]]:
    return [
        {
            "videos": int(videos),
            "confidence": None if math.isnan(confidence) else float(confidence),
            "accuracy": None if math.isnan(accuracy) else float(accuracy),
        }
        for videos, confidence, accuracy in zip(*bins, strict=True)
    ]

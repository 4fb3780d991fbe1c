"""Which epoch's weights of a run are taken, and which of its metrics are of these weights.

A run stores the weights of its last epoch and those of its best one: the best on the validation split if there is one,
otherwise the best on the test split. Metrics: `val/*` and `best_val/*` are of the validation split, `eval/*` and
`best/*` of the test split. With a validation split, `eval/*` is measured once, at the end.
"""

import math
from collections.abc import Mapping
from typing import Literal

from side4video.tasks.recognition.temperature import LEAST, MOST

Weights = Literal["best", "last"]
Rule = Literal["auto", "last", "best"]
"""`evaluation.choose_epoch` of a document."""
MIN_FITTED_CLIPS = 20
"""A temperature that was fitted on fewer validation clips is not to be relied on."""
_NEAR_BOUND = 1e-3
"""Of logarithms: as near to a bound of the search as this is at it."""


def choose_weights(rule: Rule, metrics: Mapping[str, float]) -> Weights:
    """The weights that a run's rule chooses: `auto` is the best epoch only where a validation split chose it."""
    if rule == "auto":
        return "best" if has_validation(metrics) else "last"
    return rule


def has_validation(metrics: Mapping[str, float]) -> bool:
    """Whether the run was evaluated on a validation split."""
    return "val/epoch" in metrics


def epoch_of(metrics: Mapping[str, float], weights: Weights) -> int | None:
    """The epoch of the weights, counted from 0; None if the run was never evaluated."""
    names = ("val/epoch", "eval/epoch")
    if weights == "best":
        names = ("best_val/epoch", "best/epoch")
    return next((int(metrics[name]) for name in names if name in metrics), None)


def describe_weights(metrics: Mapping[str, float], weights: Weights) -> str:
    """The epoch in words: `epoch 7, the best on the validation split`, `epoch 10, the last one`."""
    epoch = epoch_of(metrics, weights)
    if epoch is None:
        return f"the {weights} epoch"
    if weights == "last":
        return f"epoch {epoch + 1}, the last one"
    split = "validation" if has_validation(metrics) else "test"
    return f"epoch {epoch + 1}, the best on the {split} split"


def temperature(metrics: Mapping[str, float], weights: Weights) -> float | None:
    """The temperature that was fitted for the scores of these weights; None if there is none.

    It needs a validation split (`tasks.recognition.temperature`).
    """
    value = metrics.get("best_val/temperature" if weights == "best" else "val/temperature", math.nan)
    return value if math.isfinite(value) else None


def temperature_note(metrics: Mapping[str, float], value: float) -> str:
    """Why a temperature of a run says little; empty if there is no reason to doubt it.

    The search for it ends at a bound where every clip is right, or where scores say nothing. Few clips fit any number.
    """
    clips = metrics.get("val/videos", math.nan)
    is_at_bound = min(abs(math.log(value / bound)) for bound in (LEAST, MOST)) < _NEAR_BOUND
    if not is_at_bound and not clips < MIN_FITTED_CLIPS:
        return ""
    clips_text = "" if math.isnan(clips) else f", fitted on {clips:.0f} validation clip{'s' * (clips != 1)},"
    if is_at_bound:
        why = f"is at the bound of its search ({LEAST:g} to {MOST:g})"
    else:
        why = f"says little: {MIN_FITTED_CLIPS} clips or more are needed"
    return f"the temperature {value:.3g}{clips_text} {why}; do not rely on calibrated scores"


def tested_weights(metrics: Mapping[str, float]) -> Weights:
    """The weights that `eval/*` and the stored predictions are of."""
    tested = metrics.get("eval/epoch")
    is_best = has_validation(metrics) and tested is not None and tested == metrics.get("best_val/epoch")
    return "best" if is_best else "last"


def test_area(metrics: Mapping[str, float], weights: Weights) -> Literal["eval", "best", ""]:
    """Where the test metrics of these weights are: `eval`, `best`, or nowhere."""
    if has_validation(metrics):
        return "eval" if epoch_of(metrics, weights) == metrics.get("eval/epoch") else ""
    return "best" if weights == "best" else "eval"

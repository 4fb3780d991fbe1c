"""Temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural Networks", section 4.2).

One number T > 0, fitted on the validation split, makes scores more or less confident without changing their order.
What is scaled are the scores of a video: the softmax probabilities p, averaged over its views. The scaled score of
class c is p_c^(1/T) / sum over k of p_k^(1/T), the softmax of log(p) / T. With one view this is the softmax of the
network's logits over T, as in the paper. A probability that single precision rounds to 0 counts as 1e-45. All in
float64.

Legend: N videos, C classes, B bins.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from side4video.tasks.recognition.score_metrics import BINS, calibration_error, negative_log_likelihood

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAST_SCORE = 1e-45
"""About the smallest positive number of single precision, in which networks compute."""
LEAST, MOST = 0.05, 20.0
"""Bounds of a temperature. Without them, a model that is right on all clips would have the temperature 0."""
TEMPERATURE = "temperature"
"""The metric's name: `val/temperature` of an epoch, `best_val/temperature` of the best one, `eval/temperature` of the
weights that the test split was evaluated with."""


def fit_temperature(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """The temperature with the smallest negative log-likelihood of the labels.

    The likelihood is concave in 1/T, because it is that of a linear model with one weight. So its slope has one zero,
    which Brent's method finds on the scale of log T.

    Returns:
        A number from `LEAST` to `MOST`; NaN without videos, or if a score is not finite.
    """
    import numpy as np
    from scipy.optimize import brentq

    if not len(labels_N) or not np.isfinite(scores_NC).all():
        return float("nan")
    logits_NC = _logits(scores_NC)
    own = float(np.take_along_axis(logits_NC, labels_N[:, None], axis=1).mean())

    def slope(log_temperature: float) -> float:
        """Derivative of the loss by 1/T: the mean logit that the scaled scores expect, minus that of the labels."""
        scaled_NC = _softmax(logits_NC / np.exp(log_temperature))
        return float((scaled_NC * logits_NC).sum(axis=1).mean()) - own

    least, most = float(np.log(LEAST)), float(np.log(MOST))
    if slope(least) <= 0:  # more confident is always better
        return LEAST
    if slope(most) >= 0:
        return MOST
    root: Any = brentq(slope, least, most, xtol=1e-10)
    return float(np.exp(root))


def scale_scores(scores_NC: "NDArray[np.float64]", temperature: float) -> "NDArray[np.float64]":
    """The scaled scores [N, C], see the module. They sum to 1, and no two of a video change places.

    Raises:
        ValueError: The temperature is not a positive number.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"a temperature is a positive number, not {temperature}")
    return _softmax(_logits(scores_NC) / temperature)


def scaled_metrics(
    scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]", temperature: float
) -> dict[str, float]:
    """Calibration error and likelihood of scaled scores, and the temperature, by the names of metrics.

    NaN without videos, or if a score or the temperature is not finite.
    """
    import numpy as np

    measured = {TEMPERATURE: temperature, "calibration_error_scaled": float("nan"), "nll_scaled": float("nan")}
    if len(labels_N) and np.isfinite(temperature) and np.isfinite(scores_NC).all():
        scaled_NC = scale_scores(scores_NC, temperature)
        measured["calibration_error_scaled"] = calibration_error(scaled_NC, labels_N)
        measured["nll_scaled"] = negative_log_likelihood(scaled_NC, labels_N)
    return measured


class Reliability(NamedTuple):
    """How often videos of a confidence are right: a row for each bin of equal width, as in the calibration error."""

    videos_B: "NDArray[np.int64]"
    confidence_B: "NDArray[np.float64]"
    """Mean highest score; NaN in an empty bin."""
    accuracy_B: "NDArray[np.float64]"
    """Share of right videos; NaN in an empty bin."""


def reliability(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> Reliability:
    """The bins of a reliability diagram (Guo et al., 2017, Figure 1). Scores must be finite."""
    import numpy as np

    confidence_N = scores_NC.max(axis=1, initial=0.0)
    right_N = (scores_NC.argmax(axis=1) == labels_N).astype(np.float64)
    bins_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    videos_B = np.bincount(bins_N, minlength=BINS)
    means = [
        np.divide(np.bincount(bins_N, values_N, BINS), videos_B, out=np.full(BINS, np.nan), where=videos_B > 0)
        for values_N in (confidence_N, right_N)
    ]
    return Reliability(videos_B, *means)


def _logits(scores_NC: "NDArray[np.float64]") -> "NDArray[np.float64]":
    import numpy as np

    return np.log(np.maximum(scores_NC.astype(np.float64), _LEAST_SCORE))


def _softmax(logits_NC: "NDArray[np.float64]") -> "NDArray[np.float64]":
    import numpy as np

    powers_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return powers_NC / powers_NC.sum(axis=1, keepdims=True)

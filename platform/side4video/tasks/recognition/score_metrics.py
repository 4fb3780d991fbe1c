"""Metrics that need the scores of all classes: F1, average precision, AUROC, calibration, likelihood.

Only classes that occur among the videos count: the others have no positive to find. scikit-learn computes the
areas under curves, of each class against the others.

Legend: N videos, C classes, K classes that occur, B bins.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 15
"""Bins of the calibration error (Guo et al., 2017, section 2)."""
_LEAST_SCORE = 1e-12


def macro_f1(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """Mean F1 of the classes that occur, of the predictions with the highest score."""
    import numpy as np

    predicted_N = scores_NC.argmax(1)
    own_C, said_C, hits_C = (
        np.bincount(some, minlength=scores_NC.shape[1])
        for some in (labels_N, predicted_N, labels_N[labels_N == predicted_N])
    )
    present = own_C > 0
    return float((2 * hits_C[present] / (own_C + said_C)[present]).mean())


def mean_average_precision(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """Mean over the classes that occur of the area under the precision-recall curve, summed in steps."""
    import numpy as np
    from sklearn.metrics import average_precision_score

    present_K = np.unique(labels_N)
    return float(np.mean([average_precision_score(labels_N == each, scores_NC[:, each]) for each in present_K]))


def mean_auroc(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """Mean area under the ROC curve of the classes that occur; NaN if all videos are of one class."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    present_K = np.unique(labels_N)
    if len(present_K) < 2:
        return float("nan")
    return float(np.mean([roc_auc_score(labels_N == each, scores_NC[:, each]) for each in present_K]))


def calibration_error(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """Expected calibration error: |accuracy - confidence| over `BINS` equal bins of confidence, weighted by videos."""
    import numpy as np

    confidence_N = scores_NC.max(1)
    right_N = (scores_NC.argmax(1) == labels_N).astype(np.float64)
    bins_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps_B = np.bincount(bins_N, weights=right_N - confidence_N, minlength=BINS)
    return float(np.abs(gaps_B).sum() / len(labels_N))


def negative_log_likelihood(scores_NC: "NDArray[np.float64]", labels_N: "NDArray[np.int64]") -> float:
    """Mean of -log of the label's score, averaged over views: cross-entropy without label smoothing."""
    import numpy as np

    own_N = np.take_along_axis(scores_NC, labels_N[:, None], axis=1)[:, 0]
    return float(-np.log(np.maximum(own_N, _LEAST_SCORE)).mean())

"""Temperature scaling: the temperature is the likelihood's best, found again where it is known, and moves no class."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from side4video.tasks.recognition import temperature as module
from side4video.tasks.recognition.class_scores import ClassEvaluation
from side4video.tasks.recognition.score_metrics import BINS, calibration_error, negative_log_likelihood
from side4video.tasks.recognition.temperature import (
    LEAST,
    MOST,
    fit_temperature,
    reliability,
    scale_scores,
    scaled_metrics,
)

TEMPERATURES = [0.3, 0.8, 1.0, 1.7, 5.0]


def softmax(logits_NC):
    powers = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def drawn(true, *, seed=0, videos=60_000, classes=5, spread=2.0):
    """Scores whose logits are too large by the factor `true`, and labels drawn from the right distribution."""
    generator = np.random.default_rng(seed)
    logits_NC = spread * generator.standard_normal((videos, classes))
    labels_N = (logits_NC + generator.gumbel(size=logits_NC.shape)).argmax(axis=1)
    return softmax(true * logits_NC), labels_N


@pytest.mark.parametrize("true", TEMPERATURES)
def test_a_known_temperature_is_found_again(true):
    scores, labels = drawn(true)
    assert fit_temperature(scores, labels) == pytest.approx(true, rel=0.03)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_minimum_of_the_likelihood(seed):
    """Against another search, on few clips, of one view and of scores averaged over views."""
    generator = np.random.default_rng(seed)
    logits = generator.standard_normal((3, 40, 6)) * generator.uniform(0.5, 6)
    scores = softmax(logits[0]) if seed % 2 else np.mean([softmax(each) for each in logits], axis=0)
    labels = np.where(generator.random(40) < 0.6, scores.argmax(axis=1), generator.integers(0, 6, 40))
    found = minimize_scalar(
        lambda log: negative_log_likelihood(scale_scores(scores, math.exp(log)), labels),
        bounds=(math.log(LEAST), math.log(MOST)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert fit_temperature(scores, labels) == pytest.approx(math.exp(found.x), rel=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("value", [LEAST, 0.5, 1.0, 3.0, MOST])
def test_no_two_classes_change_places_and_scores_sum_to_one(seed, value):
    scores = softmax(4 * np.random.default_rng(seed).standard_normal((200, 7)))
    scaled = scale_scores(scores, value)
    assert (scaled.argmax(axis=1) == scores.argmax(axis=1)).all()
    in_order = np.take_along_axis(scaled, scores.argsort(axis=1), axis=1)
    assert (np.diff(in_order, axis=1) >= 0).all()
    assert scaled.sum(axis=1) == pytest.approx(np.ones(200))
    if value >= 0.5:  # below, small scores vanish
        assert scale_scores(scaled, 1 / value) == pytest.approx(scores, rel=1e-6)


def test_scaling_is_that_of_the_logits_for_one_view():
    """Guo et al. (2017), equation 9."""
    logits = np.random.default_rng(0).standard_normal((50, 4)) * 3
    assert scale_scores(softmax(logits), 2.5) == pytest.approx(softmax(logits / 2.5), rel=1e-12)
    assert scale_scores(softmax(logits), 1.0) == pytest.approx(softmax(logits), rel=1e-12)


def test_it_helps_where_a_model_is_too_sure():
    scores, labels = drawn(3.0)
    other_scores, other_labels = drawn(3.0, seed=1)
    measured = scaled_metrics(other_scores, other_labels, fit_temperature(scores, labels))
    assert measured["calibration_error_scaled"] < 0.1 * calibration_error(other_scores, other_labels)
    assert measured["nll_scaled"] < negative_log_likelihood(other_scores, other_labels)


def fits(fit):
    """Whether `fit` finds three temperatures again."""
    return all(fit(*drawn(true, videos=20_000)) == pytest.approx(true, rel=0.1) for true in (0.5, 1.0, 2.0))


def test_broken_twins_are_noticed(monkeypatch):
    assert fits(fit_temperature)
    assert not fits(lambda scores, labels: 1 / fit_temperature(scores, labels))
    assert not fits(lambda scores, labels: fit_temperature(scores, (labels + 1) % 5))
    monkeypatch.setattr(module, "_logits", lambda scores: scores)  # probabilities, not their logarithms
    assert not fits(fit_temperature)


def test_the_bounds_hold():
    labels = np.array([0, 1, 2])
    assert fit_temperature(0.8 * np.eye(3) + 0.2 / 3, labels) == LEAST  # right on all clips
    assert fit_temperature(0.8 * np.eye(3) + 0.2 / 3, (labels + 1) % 3) == MOST  # right on none
    assert fit_temperature(np.full((3, 3), 1 / 3), labels) in (LEAST, MOST)  # any is the same
    assert math.isfinite(fit_temperature(np.eye(3), labels))  # scores that are zero


@pytest.mark.parametrize(
    ("scores", "labels"),
    [(np.zeros((0, 3)), np.zeros(0, int)), (np.array([[np.nan, 0.5]]), np.array([1])), (np.array([[np.inf, 0]]), [0])],
)
def test_what_has_no_temperature(scores, labels):
    labels = np.asarray(labels, int)
    assert math.isnan(fit_temperature(scores, labels))
    assert all(math.isnan(value) for name, value in scaled_metrics(scores, labels, 2.0).items() if "scaled" in name)
    fine = scaled_metrics(np.array([[0.4, 0.6]]), np.array([1]), math.nan)
    assert all(math.isnan(value) for value in fine.values())


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_no_temperature_is_refused(value):
    with pytest.raises(ValueError, match="positive"):
        scale_scores(np.array([[0.4, 0.6]]), value)


def test_bins_of_the_diagram_are_those_of_the_calibration_error():
    scores, labels = drawn(2.0, videos=500)
    bins = reliability(scores, labels)
    assert bins.videos_B.sum() == 500
    gaps = np.nansum(bins.videos_B * np.abs(bins.accuracy_B - bins.confidence_B)) / 500
    assert gaps == pytest.approx(calibration_error(scores, labels))
    empty = reliability(np.zeros((0, 3)), np.zeros(0, int))
    assert empty.videos_B.tolist() == [0] * BINS
    assert np.isnan(empty.accuracy_B).all()


def evaluation(scores, labels):
    metrics = {"top1": 0.5}
    return ClassEvaluation(("a", "b"), np.arange(len(labels)), labels, scores, 1, 0.0, metrics, {})


def test_an_evaluation_fits_on_videos_with_labels_only():
    scores, labels = drawn(2.0, videos=2000, classes=2)
    unlabelled = np.concatenate([labels, np.full(500, -1)])
    more = np.concatenate([scores, np.full((500, 2), 0.5)])
    assert evaluation(more, unlabelled).fit() == evaluation(scores, labels).fit()
    test = evaluation(scores, labels)
    assert test.fitted_metrics({"temperature": 2.0, "top1": 0.4}) == scaled_metrics(scores, labels, 2.0)
    assert test.fitted_metrics({"top1": 0.4}) == {}

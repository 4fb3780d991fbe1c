"""What a metric of a plug-in must keep."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from side4video.apps.check_plugin.check import Rule
from side4video.core.metric import MetricSpec
from side4video.tasks.recognition.metrics import Scores
from side4video.tasks.retrieval.metrics import RankPair

_VIDEOS, _CLASSES = 24, 4


def metric_rules(metric: MetricSpec, *, is_retrieval: bool) -> Iterator[Rule]:
    """The rules, on made-up results of an evaluation."""
    right, wrong, order = _results(is_retrieval)
    yield "it is a number for results of a task", lambda: _is_number(metric, [right, wrong])
    yield "the order of the videos does not matter", lambda: _ignores_the_order(metric, wrong, order)
    yield f"`better: {metric.better}` is true: right answers are not worse", lambda: _is_better(metric, right, wrong)
    if metric.is_fraction:
        yield "it is a fraction, 0 to 1, as its unit says", lambda: _is_share(metric, [right, wrong])


def _results(is_retrieval: bool) -> tuple[Any, Any, Any]:
    """Right answers, wrong ones, and the wrong ones in another order."""
    rng = np.random.default_rng(0)
    order = rng.permutation(_VIDEOS)
    if is_retrieval:
        ranks = rng.integers(1, _VIDEOS, _VIDEOS)
        nothing = np.zeros(_VIDEOS, np.int64)
        return RankPair(nothing, nothing), RankPair(ranks, ranks), RankPair(ranks[order], ranks[order])
    labels_N = np.arange(_VIDEOS) % _CLASSES
    right_NC, wrong_NC = (_scores((labels_N + shift) % _CLASSES, rng) for shift in (0, 1))
    return Scores(right_NC, labels_N), Scores(wrong_NC, labels_N), Scores(wrong_NC[order], labels_N[order])


def _scores(favoured_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    logits_NC = rng.normal(size=(len(favoured_N), _CLASSES))
    logits_NC[np.arange(len(favoured_N)), favoured_N] += 6.0
    exponentials_NC = np.exp(logits_NC)
    return exponentials_NC / exponentials_NC.sum(axis=1, keepdims=True)


def _is_number(metric: MetricSpec, results: list[Any]) -> str:
    values = [metric.value(each) for each in results]
    return "" if all(math.isfinite(value) for value in values) else f"it is {values}"


def _ignores_the_order(metric: MetricSpec, found: Any, order: Any) -> str:
    first, second = metric.value(found), metric.value(order)
    return "" if math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12) else f"{first} and {second}"


def _is_better(metric: MetricSpec, right: Any, wrong: Any) -> str:
    best, worst = metric.value(right), metric.value(wrong)
    return f"{best:.4g} for right answers, {worst:.4g} for wrong ones" if metric.is_better(worst, than=best) else ""


def _is_share(metric: MetricSpec, results: list[Any]) -> str:
    values = [metric.value(each) for each in results]
    return "" if all(0 <= value <= 1 for value in values) else f"it is {values}; for a plain number, set unit to ''"

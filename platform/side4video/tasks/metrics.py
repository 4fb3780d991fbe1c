"""The metrics of all tasks, found by the key under which a store has them."""

import math
import re
from collections.abc import Collection
from dataclasses import replace

from side4video.core.metric import MetricSpec
from side4video.core.plugin import plugin_metrics
from side4video.tasks.multi_head.metrics import METRICS as MULTI_HEAD_METRICS
from side4video.tasks.multi_head.metrics import OF_HEADS
from side4video.tasks.multi_label.metrics import METRICS as MULTI_LABEL_METRICS
from side4video.tasks.recognition.metrics import METRICS as RECOGNITION_METRICS
from side4video.tasks.retrieval.metrics import METRICS as RETRIEVAL_METRICS

METRICS = (*RECOGNITION_METRICS, *RETRIEVAL_METRICS, *MULTI_LABEL_METRICS, *MULTI_HEAD_METRICS)
MAIN_METRIC = {
    "recognition": f"eval/{RECOGNITION_METRICS[0].name}",
    "retrieval": f"eval/{RETRIEVAL_METRICS[0].name}",
    "multi-label": f"eval/{MULTI_LABEL_METRICS[0].name}",
    "multi-head": f"eval/{MULTI_HEAD_METRICS[0].name}",
}
"""The metric that each task is judged by, by its kind."""
MAIN_METRICS = tuple(MAIN_METRIC.values())

ON = "on"
"""Metrics of an evaluation on other data than the run's are stored as `on/NAME/top1`."""

_BY_NAME = {each.name: each for each in METRICS}
_RECALL = re.compile(r"recall_at_(\d+)")
"""A figure of the paper's tables."""
_OF_HEAD = re.compile(rf"([a-z][a-z0-9_]*)_({'|'.join(OF_HEADS)})")
"""A metric of one head, such as `verb_top1`."""


def metric_spec(key: str) -> MetricSpec:
    """The metric of a key such as `eval/top1` or `best/t2v_r1_dual_softmax`.

    Metrics of plug-ins are known once their plug-in is loaded. A suffix (of rescored similarities) becomes part of the
    title. Other keys, such as `eval/loss`, are numbers that are printed as they are.
    """
    name = key.rpartition("/")[2]
    if known := _BY_NAME.get(name) or plugin_metrics().get(name):
        return known
    starts = [each for each in METRICS if name.startswith(f"{each.name}_")]
    if starts:
        base = max(starts, key=lambda each: len(each.name))
        return replace(base, name=name, title=f"{base.title}{name[len(base.name) :].replace('_', ' ')}")
    if (head := _OF_HEAD.fullmatch(name)) and head[1] != "mean":
        return MetricSpec(name, f"{head[1]} {OF_HEADS[head[2]]}", _not_computed, in_summary=False)
    if recall := _RECALL.fullmatch(name):
        return MetricSpec(name, f"recall@{recall[1]}", _not_computed)
    return MetricSpec(name, name.replace("_", " "), _not_computed, unit="")


def epoch_metric(key: str, metrics: Collection[str]) -> str:
    """The name under which a metric of the test split, such as `eval/top1`, is logged after each epoch.

    `metrics` are the names that a run has. With a validation split that is `val/top1`: the test split is evaluated at
    the end only.
    """
    return key.replace("eval/", "val/", 1) if "val/epoch" in metrics else key


def _not_computed(found: object) -> float:  # noqa: ARG001 - a metric's signature
    return math.nan


def is_of_head(key: str) -> bool:
    """Whether a key is of a test metric of one head, such as `eval/verb_top1`."""
    return key.startswith("eval/") and _OF_HEAD.fullmatch(key.removeprefix("eval/")) is not None


def metric_title(key: str) -> str:
    """The metric's title, and whether it is of the best epoch or of the validation split."""
    ends = {"best": " of the best epoch", "val": " on validation", "best_val": " of the best epoch on validation"}
    return metric_spec(key).title + ends.get(key.rpartition("/")[0], "")


def printed_value(key: str, value: float) -> float:
    """A value in the unit in which it is printed: percent for a fraction."""
    return 100 * value if metric_spec(key).is_fraction else value


def is_fraction(key: str) -> bool:
    """Whether the metric is a fraction, printed as percent."""
    return metric_spec(key).is_fraction


def summary(metrics: dict[str, float]) -> dict[str, MetricSpec]:
    """The metrics of an evaluation that short tables show, by key, in their order."""
    known = (*METRICS, *plugin_metrics().values())
    found = {f"eval/{each.name}": each for each in known if each.in_summary and f"eval/{each.name}" in metrics}
    return found | head_accuracies(metrics)


def head_accuracies(metrics: Collection[str]) -> dict[str, MetricSpec]:
    """The top-1 of each head, by key: `eval/verb_top1`."""
    names = [key for key in metrics if is_of_head(key) and key.endswith("_top1")]
    return {key: metric_spec(key) for key in names if key.removeprefix("eval/") not in _BY_NAME}

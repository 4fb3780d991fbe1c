"""The metric that the arms of a sweep are compared by: one of the task, or of one of its heads."""

import difflib

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec
from side4video.tasks.metrics import is_of_head
from side4video.tasks.multi_head.metrics import OF_HEADS


def with_task_metric(spec: SweepSpec, base: Experiment, source: str) -> SweepSpec:
    """Replace the default metric by that of the task, and check that the task has the metric.

    Raises:
        InputError: It has not; the names that it has are listed.
    """
    metrics = [f"eval/{metric.name}" for metric in base.metrics]
    if "metric" not in spec.model_fields_set:
        return spec.model_copy(update={"metric": metrics[0]})
    if base.task.kind == "multi-head":
        if heads := base.data.dataset.head_names():
            metrics += [f"eval/{head}_{end}" for head in heads for end in OF_HEADS]
        elif is_of_head(spec.metric):  # which heads there are is in files that may not be here
            return spec
    if spec.metric not in (*metrics, "eval/loss"):
        near = difflib.get_close_matches(spec.metric, metrics, n=1, cutoff=0.75)
        raise InputError(
            f"{source}: metric",
            f"{spec.metric}, and the task is {base.task.kind}",
            allowed=", ".join([*metrics, "eval/loss"]),
            fix=f"did you mean {near[0]}?" if near else f"metric: {metrics[0]}",
        )
    return spec

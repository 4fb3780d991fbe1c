"""`side4video.plan`: the memory, compute and time of an experiment before it runs."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from side4video.api.documents import Override, as_experiment
from side4video.core.arguments import check_number
from side4video.planning.class_count import count_classes
from side4video.planning.feature_cache import count_clips
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.planning.rates import DISK_GIGABYTES_PER_SECOND, SUSTAINED_TERAFLOPS
from side4video.spec.experiment import Experiment

MAX_CLASSES = 1_000_000
"""No list of videos has so many."""


def plan(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *overrides: Override,
    classes: int | None = None,
    sustained_teraflops: float = SUSTAINED_TERAFLOPS,
    disk_gigabytes_per_second: float = DISK_GIGABYTES_PER_SECOND,
) -> ExperimentPlan:
    """Estimate the memory, compute and time of an experiment, without a GPU, weights or videos.

    Args:
        experiment: As for `side4video.run`.
        *overrides: Changes, `"method.dim=320"` or `{"method.dim": 320}`.
        classes: Number of classes, if the data set's files are not on this machine. By default the data set says it,
            or its usual number is taken, with a warning.
        sustained_teraflops: TFLOP/s that the GPU sustains, for estimates of time.
        disk_gigabytes_per_second: Speed of the disk in 10^9 bytes/s, for the feature cache.

    Returns:
        The plan of one worker. Memory is in GiB (`peak_memory_gib`, `held_for_backward_gib`).

    Raises:
        InputError: The file, an override or the document is wrong, or the number of classes is not known.
    """
    if classes is not None:
        check_number("classes", classes, least=1, most=MAX_CLASSES, whole=True)
    check_number("sustained_teraflops", sustained_teraflops, least=1e-3)
    check_number("disk_gigabytes_per_second", disk_gigabytes_per_second, least=1e-3)
    spec = as_experiment(experiment, overrides)
    return plan_experiment(
        spec,
        classes=classes or count_classes(spec, lambda text: warnings.warn(text, stacklevel=4)),
        sustained_teraflops=sustained_teraflops,
        clips=count_clips(spec.data),
        disk_gigabytes_per_second=disk_gigabytes_per_second,
    )

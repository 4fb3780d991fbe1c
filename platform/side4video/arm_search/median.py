"""Median stopping (Golovin et al., 2017, section 3.2.2)."""

import statistics
from collections.abc import Collection

from side4video.arm_search.records import ArmRecord
from side4video.spec.sweep import MedianScheduler


def worse_than_median(records: Collection[ArmRecord], scheduler: MedianScheduler, *, mode: str) -> list[str]:
    """Names of arms in seats whose best value is worse than the median of the others' running means."""
    sign = 1.0 if mode == "max" else -1.0
    stopped = []
    for record in [each for each in records if each.state == "training" and each.values]:
        if record.epochs < scheduler.grace_epochs or str(record.epochs) not in record.values:
            continue
        means = [
            statistics.fmean(sign * value for own, value in other.by_epoch.items() if own <= record.epochs)
            for other in records
            if other is not record and other.values and max(other.by_epoch) >= record.epochs
        ]
        best = max(sign * value for value in record.values.values())
        if len(means) >= scheduler.arms and best < statistics.median(means):
            stopped.append(record.name)
    return stopped

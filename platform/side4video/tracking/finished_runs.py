"""Which experiments have a result already: the store of runs is the ledger, there is no other.

An experiment is known by its digest, the fingerprint of its data and its weights; a run of it that finished is its
result, whoever ran it: another sweep, or a command of its own. Runs that a scheduler stopped are no results.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from side4video.spec.experiment import Experiment
from side4video.spec.arm import Arm
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.sweep_logger import children_of, has_ended
from side4video.tracking.tags import DIGEST_TAG, FINGERPRINT_TAG, REUSED_TAG, STATE_TAG, WEIGHTS_TAG


@dataclass(frozen=True)
class EpochMetrics:
    """What a run measured at the end of an epoch."""

    epoch: int
    """From 0."""
    metrics: dict[str, float]


def finished_runs(store: RunStore, experiments: Collection[Experiment], *, fingerprint: str) -> dict[str, StoredRun]:
    """The newest result of each experiment that has one, by digest.

    Args:
        store: Where runs are; all its experiments are looked through.
        experiments: Which are asked for.
        fingerprint: Of the data as they are now.
    """
    wanted = {spec.digest(): spec.backbone.weights.identity() for spec in experiments}
    tags = {STATE_TAG: "finished", FINGERPRINT_TAG: fingerprint}
    runs = store.runs(status="FINISHED", tags=tags, all_experiments=True)
    found: dict[str, StoredRun] = {}
    for run in runs:
        digest = run.tags.get(DIGEST_TAG, "")
        is_same = digest in wanted and run.tags.get(WEIGHTS_TAG) == wanted[digest]
        if is_same and REUSED_TAG not in run.tags:
            found.setdefault(digest, run)
    return found


def metric_history(store: RunStore, run_id: str, metric: str) -> list[EpochMetrics]:
    """A run's metric at each epoch that was evaluated, with the epoch."""
    epochs = {each.step: int(each.value) for each in store.history(run_id, "eval/epoch")}
    values = {each.step: each.value for each in store.history(run_id, metric)}
    return [EpochMetrics(epochs[step], {metric: values[step]}) for step in sorted(epochs.keys() & values.keys())]


def correct_predictions(text: str) -> dict[int, bool]:
    """By video index, whether top-1 was right: of the text of `predictions.csv`."""
    import csv

    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    return {int(row["index"]): row["correct"] == "1" for row in rows if row["label"]}


def completed_arms(store: RunStore, key: str, arms: Sequence[Arm], *, fingerprint: str) -> dict[str, StoredRun]:
    """The runs of arms that have a result, by arm key.

    They are this sweep's own, or other runs of the same experiments that finished (`StoredRun.is_in_sweep` tells).
    """
    own = {
        digest: run
        for digest, run in children_of(store, key).items()
        if has_ended(run) and run.tags.get(FINGERPRINT_TAG) == fingerprint
    }
    others = finished_runs(store, [arm.experiment for arm in arms if arm.key not in own], fingerprint=fingerprint)
    return {arm.key: own[arm.key] for arm in arms if arm.key in own} | others

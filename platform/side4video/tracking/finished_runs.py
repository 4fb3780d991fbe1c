"""Finds experiments that have a result already, in the run store.

An experiment is identified by its digest, the fingerprint of its data, and its weights. Any finished run of it is its
result, from any sweep or command. Runs that a scheduler stopped are no results.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from side4video.core.csv_cells import csv_rows
from side4video.spec.arm import Arm
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import epoch_metric
from side4video.tracking.run_inputs import changed_inputs
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.sweep_logger import children_of, is_finished
from side4video.tracking.tags import ABSOLUTE_TAG, DIGEST_TAG, FINGERPRINT_TAG, REUSED_TAG, STATE_TAG, WEIGHTS_TAG


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of a run at the end of an epoch."""

    epoch: int
    """Counted from 0."""
    metrics: dict[str, float]


def finished_runs(store: RunStore, experiments: Collection[Experiment], *, fingerprint: str) -> dict[str, StoredRun]:
    """The newest result of each experiment that has one, by digest; paths may be spelled in another way.

    All experiments of the store are searched; `fingerprint` is that of the whole data set now, or empty for any data.
    """
    wanted = {spec.digest(): spec.weights_identity() for spec in experiments}
    known = {digest: spec.digest() for spec in experiments for digest in reversed(spec.digests())}
    fingerprints = {spec.digest(): spec.data.name_fingerprint(fingerprint) for spec in experiments}
    found: dict[str, StoredRun] = {}
    for run in _finished(store, fingerprints.values() if fingerprint else ()):
        stored = (run.tags.get(tag, "") for tag in (DIGEST_TAG, ABSOLUTE_TAG))
        digest = next((known[each] for each in stored if each in known), "")
        is_same = digest in wanted and run.tags.get(WEIGHTS_TAG) == wanted[digest]
        is_same = is_same and (not fingerprint or run.tags.get(FINGERPRINT_TAG) == fingerprints[digest])
        if is_same and REUSED_TAG not in run.tags:
            found.setdefault(digest, run)
    return found


def _finished(store: RunStore, fingerprints: Collection[str]) -> Iterator[StoredRun]:
    """Finished runs with one of the fingerprints, or with any if none is given."""
    filters = [{FINGERPRINT_TAG: each} for each in dict.fromkeys(fingerprints)] if fingerprints else [{}]
    for tags in filters:
        yield from store.runs(status="FINISHED", tags={STATE_TAG: "finished", **tags}, all_experiments=True)


def metric_history(store: RunStore, run_id: str, metric: str) -> list[EpochMetrics]:
    """A run's metric at each evaluated epoch: on the validation split, if the run has one."""
    metrics = store.get(run_id).metrics
    epochs = {each.step: int(each.value) for each in store.history(run_id, epoch_metric("eval/epoch", metrics))}
    values = {each.step: each.value for each in store.history(run_id, epoch_metric(metric, metrics))}
    return [EpochMetrics(epochs[step], {metric: values[step]}) for step in sorted(epochs.keys() & values.keys())]


def correct_predictions(text: str, metric: str = "eval/top1") -> dict[int, bool]:
    """Whether the prediction is correct, by video index, from the text of `predictions.csv`.

    `metric` decides what of several heads is predicted: the class of one head (`eval/verb_top1`), or the classes of
    all. Empty for tasks where it is neither, such as several labels a clip.
    """
    rows = list(csv_rows(text))
    heads = [name.removesuffix(" label") for name in (rows[0] if rows else {}) if name.endswith(" label")]
    if not heads:
        return {int(row["index"]): row["correct"] == "1" for row in rows if row.get("label")}
    of_head = {f"eval/{head}_top1": head for head in heads}
    asked = [of_head[metric]] if metric in of_head else heads
    return {
        int(row["index"]): all(row[f"{head} label"] == row[f"{head} prediction"] for head in asked)
        for row in rows
        if all(row[f"{head} label"] for head in heads)
    }


def completed_arms(store: RunStore, key: str, arms: Sequence[Arm], *, fingerprint: str) -> dict[str, StoredRun]:
    """The runs of arms that have a result, by arm key.

    They are runs of this sweep, or finished runs of the same experiments elsewhere (see `StoredRun.is_in_sweep`).
    """
    experiments = {arm.key: arm.experiment for arm in arms}
    own = {
        digest: run
        for digest, run in children_of(store, key).items()
        if digest in experiments
        and is_finished(run)
        and FINGERPRINT_TAG in run.tags
        and not changed_inputs(run, experiments[digest], fingerprint)
    }
    others = finished_runs(store, [arm.experiment for arm in arms if arm.key not in own], fingerprint=fingerprint)
    return {arm.key: own[arm.key] for arm in arms if arm.key in own} | others

"""What a run began with that its spec only names: the data, and the weights of the backbone."""

from side4video.data.annotations.fingerprint import short_fingerprint
from side4video.spec.experiment import Experiment
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import FINGERPRINT_TAG, WEIGHTS_TAG


def changed_inputs(run: StoredRun, spec: Experiment, fingerprint: str) -> str:
    """What changed since a run began, in a sentence; empty if nothing did.

    `fingerprint` is that of the whole data set now. A run of an earlier version may not say what it began with.
    """
    fingerprint = spec.data.name_fingerprint(fingerprint)
    before = run.tags.get(FINGERPRINT_TAG, fingerprint)
    if before != fingerprint:
        was, now = short_fingerprint(before), short_fingerprint(fingerprint)
        return f"the data set changed since the run began: its fingerprint was {was} and is {now}"
    return changed_weights(run, spec)


def changed_weights(run: StoredRun, spec: Experiment) -> str:
    """Whether the weights that it started from changed since a run began, in a sentence; empty if they did not."""
    weights = spec.weights_identity()
    before = run.tags.get(WEIGHTS_TAG, weights)
    if before != weights:
        old, new = (each.partition("+")[0] for each in (before, weights))
        if old == new:
            return "the weights of start.folder changed since the run began"
        return f"the backbone's weights changed since the run began: they were {old[:24]} and are {new[:24]}"
    return ""

"""What a run began with that its spec only names: the data, and the weights of the backbone."""

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
        return f"the data set changed since the run began: its fingerprint was {before[:12]} and is {fingerprint[:12]}"
    return changed_weights(run, spec)


def changed_weights(run: StoredRun, spec: Experiment) -> str:
    """Whether the backbone's weights changed since a run began, in a sentence; empty if they did not."""
    weights = spec.backbone.weights.identity()
    before = run.tags.get(WEIGHTS_TAG, weights)
    if before != weights:
        return f"the backbone's weights changed since the run began: they were {before[:24]} and are {weights[:24]}"
    return ""

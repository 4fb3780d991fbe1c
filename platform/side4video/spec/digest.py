"""The digest of an experiment: what its result depends on."""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment

_NO_EFFECT_ON_RESULT: dict[str, Any] = {
    "name": True,
    "tracking": True,
    "data": {"loader": True, "recipe": True},
    "features": {"folder", "limit_gib", "shard_clips"},
    "cluster": {
        "cpus_per_worker",
        "decoding",
        "max_failures",
        "resize_minutes",
        "checkpoint_minutes",
        "step_timeout_minutes",
        "storage",
        "keep_checkpoints",
    },
    "method": {"preset", "size"},
    "optimization": {"recipe"},
}
"""Fields that do not change the result: names, resources, and names of presets (the values of presets are written
out)."""


def experiment_digest(experiment: "Experiment", *, ignore_workers: bool, spell: Callable[[str], str]) -> str:
    """See `Experiment.digest`."""
    identity = experiment.without_new_defaults(experiment.model_dump(mode="json", exclude=_NO_EFFECT_ON_RESULT))
    identity = experiment.respelled(identity, spell)
    if experiment.start is not None and not experiment.start.trains:  # a fixed arm: nothing is trained or drawn
        for section in ("optimization", "seed"):
            del identity[section]
    if experiment.plugins:  # their sources decide, not where they are
        identity["plugins"] = sorted(each.sha256 for each in experiment.plugins)
    if experiment.evaluation.choose_epoch == "best":
        # Stored runs have the weights of both epochs; before there was a choice, the best were taken.
        identity["evaluation"].pop("choose_epoch", None)
    if ignore_workers:
        del identity["cluster"]["workers"]
    if experiment.cluster.gpus_per_worker == "auto":
        identity["cluster"]["gpus_per_worker"] = 0.0  # the default of earlier documents, which keep their names
    if not experiment.data.augmentation.mixes_clips:
        del identity["data"]["augmentation"]["mix"]  # documents from before there was a choice keep their names
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

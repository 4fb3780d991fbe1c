"""Looks for pretrained weights before a run: what is missing would end it after Ray and the workers were started."""

from collections.abc import Callable, Iterable

from side4video.models.towers.cached_weights import can_reach_hub, check_obtainable, find_weights
from side4video.spec.experiment import Experiment


def check_weights(experiments: Iterable[Experiment], *, can_reach: Callable[[float], bool] = can_reach_hub) -> None:
    """Check that a run on this machine gets the weights of all backbones. Nothing is downloaded or read.

    `can_reach` says whether the Hugging Face hub answers within so many seconds.

    Raises:
        InputError: A file is missing or no file of weights; or pretrained weights are not in the cache, and the hub
            cannot be reached.
    """
    checked: set[tuple[str, str]] = set()
    for spec in experiments:
        weights, model = spec.backbone.weights, spec.backbone.library_model
        weights.check("backbone.weights")
        if weights.kind == "pretrained" and (model, weights.tag) not in checked:
            checked.add((model, weights.tag))
            check_obtainable(model, weights.tag, where="backbone.weights.tag", can_reach=can_reach)


def describe_weights(spec: Experiment) -> str:
    """What a run does with the weights and a check does not; empty if there is nothing to read. No network is used."""
    weights = spec.backbone.weights
    if weights.kind == "random":
        return ""
    if weights.kind == "pretrained" and find_weights(spec.backbone.library_model, weights.tag).path is None:
        return "the weights are not on this machine; a run downloads them"
    return "the weights were not read"

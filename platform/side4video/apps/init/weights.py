"""Chooses pretrained weights: those that are on this machine, or those that can be downloaded."""

from collections.abc import Callable

from side4video.apps.init.settings import Weights, preferred
from side4video.models.towers.cached_weights import HUB_SECONDS, PretrainedFile, can_reach_hub, find_weights
from side4video.spec.machine import Machine

SIZE = "about 0.6 GB"
"""Of ViT-B/16 and ViT-B/32 with their text towers."""


def choose_weights(
    machine: Machine,
    *,
    find: Callable[[str, str], PretrainedFile] = find_weights,
    can_reach: Callable[[float], bool] = can_reach_hub,
) -> Weights:
    """The preferred weights if they are in the cache or can be downloaded; else others that are in the cache.

    Args:
        machine: Where they are to be used.
        find: Finds the weights of a model and a tag in the cache.
        can_reach: Whether the hub answers within so many seconds.
    """
    first, *others = [find(model, tag) for model, tag in preferred(machine)]
    if first.path is not None:
        return Weights(first.model, first.tag, "These weights are in the cache of this machine.", is_here=True)
    if can_reach(HUB_SECONDS):
        text = (
            f"These weights are downloaded once, at the first run ({SIZE}, {first.repository} on the Hugging Face hub)."
        )
        return Weights(first.model, first.tag, text, is_here=False)
    for other in others:
        if other.path is not None:
            text = f"These weights are in the cache of this machine; {first.model} cannot be downloaded from here."
            return Weights(other.model, other.tag, text, is_here=True)
    command = f"hf download {first.repository}"
    text = (
        "These weights are not on this machine, and the Hugging Face hub cannot be reached. Before a run, call "
        f"`{command}` where there is a network ({SIZE}), copy that cache here and let HF_HOME name it. To try "
        "everything but the accuracy: --set 'backbone.weights={kind: random}'."
    )
    return Weights(first.model, first.tag, text, is_here=False, get_command=command)

"""Which pretrained weights are on this machine, and how to get others. Nothing is downloaded.

Imports neither torch nor open_clip, which take seconds.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from side4video.models.backbones.pretrained import Pretrained, all_pretrained, find_pretrained
from side4video.models.towers.download import find_in_cache, not_to_be_had, torchvision_address

TORCHVISION = "torchvision"
"""The place of weights that are not on the hub."""
HUB_SECONDS = 3.0
"""Longest time to wait for the hub's first answer before a run."""


@dataclass(frozen=True)
class PretrainedFile:
    """Pretrained weights of a model."""

    model: str
    """The library's name."""
    tag: str
    """The library's name of the weights."""
    repository: str
    """On the Hugging Face hub, or `torchvision`; empty if there are no such weights."""
    path: Path | None
    """The file in the cache of this machine; None if it is not there."""


def find_weights(model: str, tag: str) -> PretrainedFile:
    """Where the weights of a model are. Only the local cache is looked at."""
    known = find_pretrained(model, tag)
    if known is None:
        return PretrainedFile(model, tag, "", None)
    return PretrainedFile(model, tag, known.repository or TORCHVISION, find_in_cache(known))


def cached_weights() -> list[PretrainedFile]:
    """All weights that documents can name and that are in the cache of this machine."""
    found = (find_weights(each.model, each.tag) for each in all_pretrained())
    return [each for each in found if each.path is not None]


def can_reach_hub(seconds: float) -> bool:
    """Whether the Hugging Face hub answers within `seconds`, with the proxies and certificates of its client.

    A thread asks it, because no time limit of the client ends the search for its address.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    return _answers(lambda: get_session().head(constants.ENDPOINT, timeout=seconds), seconds)


def can_reach_torchvision(known: Pretrained, seconds: float) -> bool:
    """Whether torchvision's server answers within `seconds`, with the proxies of this machine."""
    from huggingface_hub.utils import get_session

    return _answers(lambda: get_session().head(torchvision_address(known), timeout=seconds), seconds)


def _answers(question: Callable[[], object], seconds: float) -> bool:
    """Whether a question to a server is answered in time."""
    has_answered = threading.Event()

    def ask() -> None:
        try:
            question()
        except Exception:  # each client has errors of its own
            return
        has_answered.set()

    asking = threading.Thread(target=ask, daemon=True, name="ask a server")
    asking.start()
    asking.join(seconds)
    return has_answered.is_set()


def check_obtainable(model: str, tag: str, *, where: str, can_reach: Callable[[float], bool] = can_reach_hub) -> None:
    """Check that pretrained weights are in the cache, or that the hub can be reached.

    `where` is the field of the tag, for errors; `can_reach` says whether the hub answers within so many seconds.

    Raises:
        InputError: Neither.
    """
    known = find_pretrained(model, tag)
    if find_weights(model, tag).path is not None:
        return
    if known is not None and known.is_torchvisions:
        if not can_reach_torchvision(known, HUB_SECONDS):
            raise not_to_be_had(model, tag, where=where, reason="torchvision's server cannot be reached")
    elif not can_reach(HUB_SECONDS):
        raise not_to_be_had(model, tag, where=where, reason="the Hugging Face hub cannot be reached")

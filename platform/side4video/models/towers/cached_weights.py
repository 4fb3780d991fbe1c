"""Which pretrained weights of open_clip are on this machine, and how to get others. Nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path

from side4video.models.backbones.pretrained_tags import PRETRAINED_TAGS
from side4video.models.towers.download import find_in_cache


@dataclass(frozen=True)
class PretrainedFile:
    """Pretrained weights of a model."""

    model: str
    """open_clip's name."""
    tag: str
    """open_clip's name of the weights."""
    repository: str
    """On the Hugging Face hub; empty if they lie elsewhere."""
    path: Path | None
    """The file in the cache of this machine; None if it is not there."""


def find_weights(model: str, tag: str) -> PretrainedFile:
    """Where the weights of a model are. Only the local cache is looked at."""
    from open_clip.pretrained import get_pretrained_cfg

    config = get_pretrained_cfg(model, tag) or {}
    repository = str(config.get("hf_hub", "")).rpartition("/")[0]
    return PretrainedFile(model, tag, repository, find_in_cache(config))


def cached_weights() -> list[PretrainedFile]:
    """All weights that documents can name and that are in the cache of this machine."""
    pairs = ((model, tag) for model, tags in PRETRAINED_TAGS.items() for tag in tags)
    return [found for found in (find_weights(model, tag) for model, tag in pairs) if found.path is not None]


def can_reach_hub(seconds: float) -> bool:
    """Whether the Hugging Face hub answers within `seconds`, with the proxies and certificates of its client."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception:  # each client of the hub has errors of its own
        return False
    return True

"""Download the pretrained weights of open_clip."""

import logging
from pathlib import Path
from typing import Any

from side4video.core.disk_errors import explain_disk_error
from side4video.core.errors import InputError

_log = logging.getLogger(__name__)
FILE_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""open_clip's names of a repository's file of weights, the preferred one first."""
_HUB_TIMEOUT_SECONDS = 10.0
"""Limit for the hub's first answer; its client would retry for a minute and fill the log."""


def download(model: str, tag: str, *, where: str) -> Path:
    """The file of a model's pretrained weights, from the local cache or downloaded into it.

    `model` and `tag` are open_clip's names; `where` is the field of the tag, for errors.

    Raises:
        InputError: There is no such tag, or the file is neither in the cache nor can it be downloaded.
    """
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

    config = get_pretrained_cfg(model, tag)
    if not config:
        tags = ", ".join(list_pretrained_tags_by_model(model))
        raise InputError(where, f"open_clip has no weights {tag!r} for {model}", allowed=tags or "none for this model")
    cached = find_in_cache(config)
    if cached is not None:
        return cached
    _log.info("downloading the weights %s of %s", tag, model)
    try:
        if config.get("hf_hub"):
            check_hub()
        path = Path(download_pretrained(config))
    except Exception as error:  # the hub, its client and urllib raise different types
        if explained := explain_disk_error(error):
            raise explained from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise not_to_be_had(model, tag, where=where, reason=reason) from error
    return path


def not_to_be_had(model: str, tag: str, *, where: str, reason: str) -> InputError:
    """The error about weights that are neither in the cache nor can be downloaded, for a reason."""
    return InputError(
        where,
        f"the weights {tag!r} of {model} are not in the cache and cannot be downloaded ({reason})",
        fix="without network, use weights: {kind: file, path: ...}, or point HF_HOME at a cache that holds them; "
        "to try everything but the accuracy, weights: {kind: random}",
    )


def find_in_cache(config: dict[str, Any]) -> Path | None:
    """The file in the hub's local cache, without a request to the hub."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, file_name = str(config.get("hf_hub", "")).rpartition("/")
    if not repository:
        return None
    for name in [file_name] if file_name else FILE_NAMES:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def check_hub() -> None:
    """Fail early if the hub cannot be reached, with the client's proxies and certificates."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT_SECONDS)

"""Download pretrained weights from the Hugging Face hub."""

import logging
from pathlib import Path

from side4video.core.disk_errors import explain_disk_error
from side4video.core.errors import InputError
from side4video.models.backbones.pretrained import Pretrained, find_pretrained, tags_of

_log = logging.getLogger(__name__)
_HUB_TIMEOUT_SECONDS = 10.0
"""Limit for the hub's first answer; its client would retry for a minute and fill the log."""


def download(model: str, tag: str, *, where: str) -> Path:
    """The file of a model's pretrained weights, from the local cache or downloaded into it.

    `model` and `tag` are the library's names; `where` is the field of the tag, for errors.

    Raises:
        InputError: There is no such tag, or the file is neither in the cache nor can it be downloaded.
    """
    weights = find_pretrained(model, tag)
    if weights is None:
        tags = ", ".join(tags_of(model))
        raise InputError(where, f"there are no weights {tag!r} for {model}", allowed=tags or "none for this model")
    cached = find_in_cache(weights)
    if cached is not None:
        return cached
    _log.info("downloading the weights %s of %s", tag, model)
    try:
        check_hub()
        return _download(weights)
    except Exception as error:  # the hub, its client and urllib raise different types
        if explained := explain_disk_error(error):
            raise explained from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise not_to_be_had(model, tag, where=where, reason=reason) from error


def _download(weights: Pretrained) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    *preferred, last = weights.file_names
    for name in preferred:
        try:
            return Path(hf_hub_download(weights.repository, name))
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(weights.repository, last))


def not_to_be_had(model: str, tag: str, *, where: str, reason: str) -> InputError:
    """The error about weights that are neither in the cache nor can be downloaded, for a reason."""
    return InputError(
        where,
        f"the weights {tag!r} of {model} are not in the cache and cannot be downloaded ({reason})",
        fix="without network, use weights: {kind: file, path: ...}, or point HF_HOME at a cache that holds them; "
        "to try everything but the accuracy, weights: {kind: random}",
    )


def find_in_cache(weights: Pretrained) -> Path | None:
    """The file in the hub's local cache, without a request to the hub."""
    from huggingface_hub import try_to_load_from_cache

    for name in weights.file_names:
        path = try_to_load_from_cache(weights.repository, name)
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

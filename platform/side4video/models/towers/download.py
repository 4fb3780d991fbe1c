"""Download pretrained weights from the Hugging Face hub, or from torchvision's server."""

import logging
import os
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
        if weights.is_torchvisions:
            return _download_from_server(weights)
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


def _download_from_server(weights: Pretrained) -> Path:
    """Into torch's own cache; the end of the file's name is the beginning of its SHA-256, which is checked."""
    import torch.hub

    target = _cached_by_torch(weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(
        torchvision_address(weights), str(target), target.stem.rpartition("-")[2], progress=False
    )
    return target


def torchvision_address(weights: Pretrained) -> str:
    """The address of torchvision's weights, as the installed torchvision has it."""
    from torchvision.models import get_model_weights

    return get_model_weights(weights.model)[weights.tag].url


def _cached_by_torch(weights: Pretrained) -> Path:
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints" / weights.file_names[0]


def not_to_be_had(model: str, tag: str, *, where: str, reason: str) -> InputError:
    """The error about weights that are neither in the cache nor can be downloaded, for a reason."""
    return InputError(
        where,
        f"the weights {tag!r} of {model} are not in the cache and cannot be downloaded ({reason})",
        fix="without network, use weights: {kind: file, path: ...}, or point HF_HOME (torchvision's: TORCH_HOME) at a "
        "cache that holds them; "
        "to try everything but the accuracy, weights: {kind: random}",
    )


def find_in_cache(weights: Pretrained) -> Path | None:
    """The file in the local cache of the hub's client, or of torch, without a request."""
    if weights.is_torchvisions:
        path = _cached_by_torch(weights)
        return path if path.is_file() else None
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

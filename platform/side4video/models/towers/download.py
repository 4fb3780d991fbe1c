"""Fetch the weights that open_clip knows by name."""

import logging
from pathlib import Path

from side4video.core.errors import InputError

_log = logging.getLogger(__name__)


def download(model: str, tag: str, *, where: str) -> Path:
    """The file with a model's pretrained weights: from the local cache, or else downloaded into it.

    Args:
        model: open_clip's name of the model.
        tag: open_clip's name of the training run.
        where: The field that names the tag, for errors.

    Raises:
        InputError: There is no such tag, or it can be neither found in the cache nor downloaded.
    """
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

    config = get_pretrained_cfg(model, tag)
    if not config:
        raise InputError(
            where,
            f"open_clip has no weights {tag!r} for {model}",
            allowed=", ".join(list_pretrained_tags_by_model(model)) or "none: this model has no pretrained weights",
        )
    _log.info("looking for the weights %s of %s in the cache, or downloading them", tag, model)
    try:
        path = Path(download_pretrained(config))
    except Exception as error:  # the hub, its client and urllib each have their own kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            where,
            f"the weights {tag!r} of {model} are not in the cache and could not be downloaded ({reason})",
            fix="on a machine without network use weights: {kind: file, path: ...}, "
            "or set HF_HOME to a cache that holds them",
        ) from error
    if not path.is_file():
        raise InputError(where, f"the download of {tag!r} of {model} left no file at {path}", fix="empty the cache")
    return path

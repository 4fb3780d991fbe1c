"""Nested documents as MLflow parameters: dotted names with text values."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from side4video.core.dotted import dotted
from side4video.core.metric import KEY_LIMIT

VALUE_LIMIT = 6000
"""Maximum characters of a parameter's value. MLflow cuts longer values silently."""

TAG_LIMIT = 8000
"""Maximum characters of a tag's value."""

BATCH_ENTRIES = 100
"""Maximum parameters or tags per request."""

BATCH_CHARACTERS = 150_000
"""Maximum characters per request: MLflow's limit is 1 MB, and an escaped character takes 6 bytes."""


def flatten(document: Mapping[str, Any]) -> dict[str, str]:
    """`{"method": {"dim": 320}}` as `{"method.dim": "320"}`, see `core.dotted`.

    Characters that MLflow does not allow in names become `_`; names above the limit are cut.
    """
    return {plain_name(path): text for path, text in dotted(document).items()}


def plain_name(name: str) -> str:
    """The name without characters that MLflow refuses."""
    replaced = re.sub(r"[^A-Za-z0-9_.\-/ :]", "_", name)
    return re.sub(r"//+", "/", replaced).strip("/")[:KEY_LIMIT] or "_"


def cut(text: str, limit: int) -> str:
    """The text, cut to `limit` characters with a final `…`. A NUL, which PostgreSQL does not store, is escaped."""
    text = text.replace("\0", "\\u0000")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def batches(entries: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The entries, split into parts for one request each."""
    portion: dict[str, str] = {}
    size = 0
    for name, value in entries.items():
        length = len(name) + len(value)
        if portion and (len(portion) == BATCH_ENTRIES or size + length > BATCH_CHARACTERS):
            yield portion
            portion, size = {}, 0
        portion[name] = value
        size += length
    if portion:
        yield portion

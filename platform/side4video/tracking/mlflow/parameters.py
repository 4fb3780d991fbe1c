"""A nested document as MLflow's flat parameters: dotted names, values as text."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from side4video.core.dotted import dotted
from side4video.core.metric import KEY_LIMIT

VALUE_LIMIT = 6000
"""Characters in a parameter's value; MLflow silently cuts what is longer."""

TAG_LIMIT = 8000
"""Characters in a tag's value."""

BATCH_ENTRIES = 100
"""Parameters, or tags, in one request."""

BATCH_CHARACTERS = 150_000
"""Text in one request: MLflow's megabyte, with room for every character escaped as six."""


def flatten(document: Mapping[str, Any]) -> dict[str, str]:
    """`{"method": {"dim": 320}}` as `{"method.dim": "320"}`, see `core.dotted`.

    A character that MLflow does not take in a name becomes `_`; a name over the limit is cut.
    """
    return {plain_name(path): text for path, text in dotted(document).items()}


def plain_name(name: str) -> str:
    """The name with every character that MLflow refuses replaced."""
    replaced = re.sub(r"[^A-Za-z0-9_.\-/ :]", "_", name)
    return re.sub(r"//+", "/", replaced).strip("/")[:KEY_LIMIT] or "_"


def cut(text: str, limit: int) -> str:
    """The text, or as much of it as fits, ending in `…`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def batches(entries: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The entries in portions that one request holds."""
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

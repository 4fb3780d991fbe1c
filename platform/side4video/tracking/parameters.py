"""A nested document as MLflow's flat parameters: dotted names, values as text."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from side4video.tracking.records import KEY_LIMIT

VALUE_LIMIT = 6000
"""Characters in a parameter's value; MLflow silently cuts what is longer."""

TAG_LIMIT = 8000
"""Characters in a tag's value."""

BATCH_ENTRIES = 100
"""Parameters, or tags, in one request."""

BATCH_CHARACTERS = 150_000
"""Text in one request: MLflow's megabyte, with room for every character escaped as six."""


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"method": {"dim": 320}}` as `{"method.dim": "320"}`.

    Text stays as it is; numbers, booleans, null, lists and empty mappings are written as JSON. A character that
    MLflow does not take in a name becomes `_`; a name over the limit is cut.
    """
    flat: dict[str, str] = {}
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{path}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            flat[plain_name(path)] = text
    return flat


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

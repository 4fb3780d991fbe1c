"""Nested documents as flat mappings of dotted names to text."""

import json
from collections.abc import Mapping
from typing import Any


def dotted(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"method": {"dim": 320}}` as `{"method.dim": "320"}`.

    Text stays as it is; numbers, booleans, null, lists and empty mappings are written as JSON.
    """
    flat: dict[str, str] = {}
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= dotted(value, f"{path}.")
        else:
            flat[path] = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return flat


def below(flat: Mapping[str, str], path: str) -> dict[str, str]:
    """The entries at or below a path."""
    return {name: text for name, text in flat.items() if is_at_or_below(name, path)}


def is_at_or_below(name: str, path: str) -> bool:
    """Whether a dotted name equals a path or is below it."""
    return name == path or name.startswith(f"{path}.")

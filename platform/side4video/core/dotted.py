"""A nested document as flat text: dotted names and their values."""

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
    """What stands at a path or anywhere below it."""
    return {name: text for name, text in flat.items() if is_at_or_below(name, path)}


def is_at_or_below(name: str, path: str) -> bool:
    """Whether a dotted name is a path, or leads on from it."""
    return name == path or name.startswith(f"{path}.")

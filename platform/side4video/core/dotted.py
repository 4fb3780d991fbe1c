"""Nested documents as flat mappings of dotted names to text."""

import json
from collections.abc import Iterable, Mapping, Sequence
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


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted path, or as many parts as make it unique."""
    unique = list(dict.fromkeys(paths))
    names = {}
    for path in unique:
        words = path.removesuffix(".kind").split(".")
        endings = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        names[path] = next((name for name in endings if _is_unique(name, unique)), endings[-1])
    return names


def _is_unique(name: str, paths: Sequence[str]) -> bool:
    ends = [path.removesuffix(".kind") for path in paths]
    return sum(end == name or end.endswith(f".{name}") for end in ends) == 1

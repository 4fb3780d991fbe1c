"""Writes a document as YAML with comments. Any text may be in it; reading the YAML gives the same document."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from side4video.core.text import printable

WIDTH = 116
"""Characters of a line, where text can be divided."""
_LONG = 10**9


def as_yaml(document: Mapping[str, Any], comments: Mapping[str, Sequence[str]], head: Sequence[str]) -> str:
    """The text of a document.

    Args:
        document: Sections of text, numbers and lists.
        comments: Lines to stand above a field, by its dotted path; control characters in them are made visible.
        head: Lines at the top.
    """
    lines = [*_comment(head, 0), *_section(document, comments, "", 0)]
    return "\n".join(lines) + "\n"


def _section(document: Mapping[str, Any], comments: Mapping[str, Sequence[str]], prefix: str, depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for key, value in document.items():
        path = f"{prefix}{key}"
        if path in comments and not depth and lines:
            lines.append("")
        lines += _comment(comments.get(path, ()), depth)
        inline = _flow(value)
        has_comments = any(name.startswith(f"{path}.") for name in comments)
        is_short = len(indent) + len(str(key)) + len(inline) + 2 <= WIDTH
        if isinstance(value, Mapping) and value and (has_comments or not is_short):
            lines += [f"{indent}{_scalar(key)}:", *_section(value, comments, f"{path}.", depth + 1)]
        else:
            lines.append(f"{indent}{_scalar(key)}: {inline}")
    return lines


def _flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A text or number in one line, which also stands inside of brackets."""
    # Inside of a list, PyYAML quotes what brackets and commas would end.
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=_LONG).strip()[1:-1]
    if len(text.splitlines()) <= 1 and printable(text) == text and yaml.safe_load(f"[{text}]") == [value]:
        return text
    quoted = yaml.safe_dump([value], default_flow_style=True, default_style='"', allow_unicode=False, width=_LONG)
    return quoted.strip()[1:-1]


def _comment(lines: Sequence[str], depth: int) -> list[str]:
    indent = "  " * depth
    return [f"{indent}# {part}".rstrip() for line in lines for part in _wrap(printable(line), WIDTH - len(indent) - 2)]


def _wrap(line: str, width: int) -> list[str]:
    """A line divided at spaces; one that begins with spaces is a command, and stays whole."""
    if line.startswith(" ") or len(line) <= width:
        return [line]
    found = [""]
    for word in line.split(" "):
        if found[-1] and len(found[-1]) + 1 + len(word) > width:
            found.append(word)
        else:
            found[-1] = f"{found[-1]} {word}" if found[-1] else word
    return found

"""What a check of `doctor` says."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "failed"]
"""`note`: training works without it, and it is worth knowing. `failed`: training would not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of a check, in one line."""

    status: Status
    text: str
    fix: str = ""
    """What to do, if anything is to be done."""


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def note(text: str, fix: str = "") -> Finding:
    """Training works without it."""
    return Finding("note", text, fix)


def failed(text: str, fix: str) -> Finding:
    """Training would not work."""
    return Finding("failed", text, fix)

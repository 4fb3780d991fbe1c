"""Checks of what a program gives to the functions of `side4video`: a slip is an error with a fix, as in a document."""

import os
from numbers import Integral, Real
from typing import Any

from side4video.core.errors import InputError


def found_type(value: object) -> str:
    """What a value is, in an error."""
    return "None" if value is None else f"a value of the type {type(value).__name__}"


def check_text(name: str, value: object, *, allowed: str, fix: str, path: bool = False) -> None:
    """Check that an argument is a text, or, with `path`, a text or a path.

    Raises:
        InputError: It is neither.
    """
    if not isinstance(value, str) and not (path and isinstance(value, os.PathLike)):
        raise InputError(name, found_type(value), allowed=allowed, fix=fix)


def check_number(name: str, value: Any, *, least: float, most: float = float("inf"), whole: bool = False) -> None:
    """Check that an argument is a number between two bounds, a whole one if asked for.

    Raises:
        InputError: It is not.
    """
    number: Any = value  # comparisons of `Real` have no types
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if is_number and least <= number <= most and number != float("inf"):
        return
    bounds = f"{least:g} or more" if most == float("inf") else f"{least:g} to {most:g}"
    if is_number:
        raise InputError(name, f"{number:g}", allowed=bounds, fix=f"{name}={max(1, round(least))}")
    found = f"{value!r}" if isinstance(value, bool | str | Real) else found_type(value)
    kind = "a whole number" if whole else "a number"
    raise InputError(name, found, allowed=f"{kind}, {bounds}", fix=f"{name}={max(1, round(least))}")

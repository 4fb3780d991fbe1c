"""Fields of documents that want numbers: Python takes `True` for 1 there, which no user means."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin


class GivenBoolean:
    """A `true` or `false` where a number is wanted. It is of no type that a field takes."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __repr__(self) -> str:
        """As a document has it."""
        return "true" if self._value else "false"


@cache
def wants_numbers(annotation: Any) -> bool:
    """Whether a type, or what it holds, is of numbers and not of booleans."""
    leaves = _leaves(annotation)
    return bool(leaves & {int, float}) and not leaves & {bool, Any, object, True, False}


def without_booleans(value: Any) -> Any:
    """A value of such a field, with `GivenBoolean` in place of booleans, in lists and mappings too."""
    if isinstance(value, bool):
        return GivenBoolean(value)
    if isinstance(value, list | tuple):
        return type(value)(without_booleans(each) for each in value) if type(value) in (list, tuple) else value
    if isinstance(value, Mapping) and "kind" not in value:
        return {key: without_booleans(each) for key, each in value.items()}
    return value


def _leaves(annotation: Any) -> set[Any]:
    """The types that a type is made of, without unions, lists, mappings and annotations."""
    if get_origin(annotation) is Literal:
        return {each for each in get_args(annotation) if isinstance(each, bool)}
    if hasattr(annotation, "__metadata__"):
        return _leaves(annotation.__origin__)
    inner = get_args(annotation)
    return {annotation} if not inner else set().union(*(_leaves(each) for each in inner))

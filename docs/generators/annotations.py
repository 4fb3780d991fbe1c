"""Types and values of fields, in words."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from side4video.core.spec import Spec

Link = Callable[[tuple[type[Spec], ...]], str]
"""Names some specs, members of one union or a single one, in Markdown."""

UNITS: Mapping[Any, str] = {int: "a whole number", float: "a number", str: "text"}


def specs_in(annotation: Any) -> tuple[type[Spec], ...]:
    """All specs that a value of an annotation may be or hold, in order."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return (annotation,)
    return tuple(dict.fromkeys(spec for part in get_args(annotation) for spec in specs_in(part)))


def kind_of(spec: type[Spec]) -> str:
    """A union member's kind; empty for a section of one form."""
    field = spec.model_fields.get("kind")
    return str(field.default) if field else ""


def in_words(annotation: Any, metadata: Sequence[Any], link: Link) -> str:
    """The type of a field, in Markdown.

    Raises:
        TypeError: No field had an annotation of this sort before.
    """
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return in_words(inner, [*more, *metadata], link)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return either([f"`{_yaml(value)}`" for value in parts])
    if origin in (Union, UnionType):
        specs = tuple(part for part in parts if isinstance(part, type) and issubclass(part, Spec))
        rest = [in_words(part, (), link) for part in parts if part not in specs]
        return either([*([link(specs)] if specs else []), *rest])
    if origin is tuple:
        each = in_words(parts[0], (), link)
        return f"a list, each item {each}" if parts[-1] is Ellipsis else f"a list of {len(parts)} items, each {each}"
    if origin in (list, set, frozenset, Sequence):
        return f"a list, each item {in_words(parts[0], (), link)}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping from names to {in_words(parts[1], (), link)}"
    if annotation in UNITS:
        return UNITS[annotation] + _bounds(metadata)
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return link((annotation,))
    if annotation in (bool, NoneType, Any):
        return {bool: "`true` or `false`", NoneType: "nothing", Any: "any value of the named field"}[annotation]
    raise TypeError(f"no words for {annotation!r}")


def default_of(field: FieldInfo) -> str:
    """The value of a field that a document does not give, as YAML; `required` where it must."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return _yaml(value)


def _yaml(value: Any) -> str:
    """A value in YAML's flow form."""
    if isinstance(value, Spec):
        given = value.model_dump(mode="json", exclude_defaults=True)
        kind = {"kind": kind_of(type(value))} if kind_of(type(value)) else {}
        return _yaml({**kind, **given}) if kind or given else "{}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(inner) for inner in value) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else '""'


def as_yaml(value: Any) -> str:
    """A value as a document writes it, on one line."""
    return _yaml(value)


def either(options: Sequence[str]) -> str:
    """`a, b or c`."""
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _bounds(metadata: Sequence[Any]) -> str:
    """What limits a number or a text."""
    told = []
    for each in _single(metadata):
        match each:
            case annotated_types.Gt(gt=bound):
                told.append(f"above {bound:g}")
            case annotated_types.Ge(ge=bound):
                told.append(f"at least {bound:g}")
            case annotated_types.Lt(lt=bound):
                told.append(f"below {bound:g}")
            case annotated_types.Le(le=bound):
                told.append(f"at most {bound:g}")
            case annotated_types.MinLen(min_length=1):
                told.append("not empty")
            case annotated_types.MaxLen(max_length=bound):
                told.append(f"at most {bound} characters")
            case _ if getattr(each, "pattern", None):
                told.append(f"matching `{each.pattern}`")
    return "".join(f", {each}" for each in told)


def _single(metadata: Sequence[Any]) -> list[Any]:
    """Constraints one by one: Pydantic groups some in a `Field`."""
    found: list[Any] = []
    for each in metadata:
        inner = each.metadata if isinstance(each, FieldInfo) else [each]
        found += list(each) if isinstance(each, annotated_types.GroupedMetadata) else inner
    return found

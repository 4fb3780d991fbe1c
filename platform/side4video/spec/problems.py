"""What is wrong with a document, from Pydantic's errors: the place, what stands there, what may stand there, a fix."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from side4video.core.errors import InputError
from side4video.core.field_descriptions import field_descriptions
from side4video.core.plugin import plugin_parts
from side4video.core.spec import Spec
from side4video.spec.allowed_values import allowed_values
from side4video.spec.known_names import advice, near_kind


def problems_of(
    found: Sequence[ErrorDetails],
    document: Mapping[str, Any],
    source: str,
    lines: Mapping[str, int],
    kind: type[BaseModel],
) -> list[InputError]:
    """The errors of a document of a spec, each once; `lines` are the line numbers of its keys."""
    # If the members of a list are wrong, Pydantic also reports the list as too short. Keep the errors of the members
    # only.
    inner = [each["loc"][: len(other["loc"])] for each in found for other in found if each is not other]
    problems: dict[tuple[str, str], InputError] = {}
    for details in found:
        if details["type"] == "too_short" and details["loc"] in inner:
            continue
        problem, is_alternative = _as_input_error(details, document, source, lines, kind)
        key = (problem.where, problem.found if is_alternative else str(problem))
        problems[key] = _either(problems[key], problem) if key in problems else problem
    return list(problems.values())


def _as_input_error(
    details: ErrorDetails, document: Mapping[str, Any], source: str, lines: Mapping[str, int], kind: type[BaseModel]
) -> tuple[InputError, bool]:
    """The error in words, and whether it is that of one of several forms that a field may have."""
    where, model, is_alternative = _locate(details["loc"], document, kind, is_missing=details["type"] == "missing")
    if details["type"] == "located":
        where = details.get("ctx", {}).get("where", where)
    found, allowed, fix = _describe(details, where, model)
    line = lines.get(where) or lines.get(where.rpartition(".")[0])
    place = f"{source}:{line}: {where}" if line else f"{source}: {where}"
    return InputError(place, found, allowed=allowed, fix=fix), is_alternative


def _either(first: InputError, second: InputError) -> InputError:
    """One error for a value that has none of the forms that a field may have."""
    allowed = list(dict.fromkeys(each for each in (first.allowed, second.allowed) if each))
    return InputError(first.where, first.found, allowed=", or ".join(allowed), fix=first.fix or second.fix)


_DEFAULT_KINDS: Mapping[str | int, str] = {"task": "recognition", "tracking": "mlflow"}
"""Default kinds of sections that can be written without one."""


def _locate(
    loc: tuple[str | int, ...], document: Any, kind: type[BaseModel], *, is_missing: bool
) -> tuple[str, type[BaseModel] | None, bool]:
    """The YAML path for a Pydantic error location, the spec of its last key, and whether forms of it were left out.

    A location also contains the kinds of sections, and the forms that a value may have (`constrained-float`).
    """
    parts: list[str] = []
    place, model = document, kind
    owner: type[BaseModel] | None = kind
    for part in loc:
        if isinstance(place, Mapping) and part not in place and place.get("kind", _DEFAULT_KINDS.get(loc[0])) == part:
            model = plugin_parts(parts[-1] if parts else "").get(str(part)) or _union_member(model, str(part))
            continue
        if not is_missing and _is_form(part, place, model):
            return ".".join(parts) or "the document", owner, True
        owner = model if isinstance(model, type) and issubclass(model, BaseModel) else None
        parts.append(str(part))
        if isinstance(place, list | tuple) and isinstance(part, int) and part < len(place):
            place = place[part]  # a list's members are of the kinds that the list's field takes
            kind_given = place.get("kind") if isinstance(place, Mapping) else None
            model = plugin_parts(parts[-2] if len(parts) > 1 else "").get(str(kind_given))
            continue
        place = place.get(part) if isinstance(place, Mapping) else None
        field = owner.model_fields.get(str(part)) if owner else None
        inner = place.get("kind") if isinstance(place, Mapping) else None
        model = plugin_parts(str(part)).get(str(inner)) or _union_member(field.annotation, inner) if field else None
    return ".".join(parts) or "the document", owner, False


def _is_form(part: str | int, place: Any, model: Any) -> bool:
    """Whether a part of a location is no key of the document, but one of the forms of the value at `place`."""
    if isinstance(place, Mapping):
        return part not in place and str(part) not in getattr(model, "model_fields", {})
    return not (isinstance(place, list | tuple) and isinstance(part, int))


def _union_member(annotation: Any, kind: Any) -> Any:
    """The spec class that an annotation means for a given `kind`."""
    members = [m for m in (get_args(annotation) or (annotation,)) if isinstance(m, type) and issubclass(m, Spec)]
    tagged = [m for m in members if "kind" in m.model_fields and m.model_fields["kind"].default == kind]
    return (tagged or members or [None])[0]


def _describe(details: ErrorDetails, where: str, owner: type[BaseModel] | None) -> tuple[str, str, str]:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    key = where.rpartition(".")[2]
    match kind:
        case "extra_forbidden":
            fields = sorted(owner.model_fields) if owner else []
            below = f".{next(iter(value))}" if isinstance(value, Mapping) and value else ""
            said = advice(key, fields, where.rpartition(".")[0], below=below)
            return f"unknown key {key!r}", ", ".join(fields), said
        case "missing":
            return "missing", _field_hint(owner, key), f"add {_EXAMPLES.get(key, key)}"
        case "union_tag_invalid":
            own = str(context.get("expected_tags", "")).replace("'", "").split(", ")
            kinds, tag = [*plugin_parts(key), *own], str(context.get("tag"))
            return f"unknown kind {tag!r}", ", ".join(kinds), near_kind(tag, kinds)
        case "union_tag_not_found" | "model_type" | "model_attributes_type":
            given = "no kind" if isinstance(value, Mapping) else f"{describe_value(value)}"
            return (
                given,
                "a section with a kind" if kind == "union_tag_not_found" else "a section",
                f"{key}: {{{_first_key(owner, key)}: ...}}",
            )
        case "literal_error":
            allowed = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
            return _shown(value), allowed, near_kind(str(value), allowed.split(", "))
        case "string_type" if value is None or isinstance(value, bool | int | float):
            quoted = f'{key}: "{value}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
            return _shown(value), "text", quoted or f'put it in quotes, as {key}: "text"'
        case "value_error" | "located":
            message = str(context.get("message") or context.get("error") or details["msg"])
            found, _, rest = message.partition(" · allowed: ")
            allowed, _, fix = rest.partition(" · fix: ")
            return found, allowed, fix
        case _:
            found = _shown(value) if not isinstance(value, Mapping | list) else describe_value(value)
            return found, allowed_values(details), ""


def _shown(value: Any) -> str:
    """A value as a document has it."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if math.isinf(value) else f"{value!r}"
    return f"{value!r}"


def _first_key(owner: type[BaseModel] | None, key: str) -> str:
    """What a section begins with: its kind, or the field that it needs, or its first field."""
    field = owner.model_fields.get(key) if owner else None
    section = _union_member(field.annotation, None) if field else None
    if section is None or "kind" in section.model_fields:
        return "kind"
    needed = [name for name, each in section.model_fields.items() if each.is_required()]
    return (needed or list(section.model_fields))[0]


_EXAMPLES: Mapping[str, str] = {
    "backbone": "a section, such as backbone: {kind: open-clip, model: ViT-B-16, weights: {kind: file, path: clip.pt}}",
    "method": "a section, such as method: {kind: side4video}",
    "data": "a section, such as data: {dataset: {kind: folder, root: my-videos}}",
    "dataset": "a section, such as dataset: {kind: folder, root: my-videos}",
    "weights": "a section, such as weights: {kind: file, path: weights.safetensors}",
}
"""What to add for a missing section."""


def _field_hint(owner: type[BaseModel] | None, key: str) -> str:
    return field_descriptions(owner).get(key, "").split(".")[0] if owner else ""


def describe_value(value: Any) -> str:
    """What a value of a document is, in words."""
    if value is None:
        return "nothing"
    names = {dict: "a section", list: "a list", str: f"the text {str(value)[:40]!r}", bool: _shown(value)}
    return names.get(type(value), f"{value!r}"[:60])

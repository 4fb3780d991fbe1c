"""Reads a YAML document into a validated spec. Every error is one line with the place, the problem and a fix."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from side4video.core.bounded_files import MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_VALUES, check_size
from side4video.core.errors import InputError
from side4video.core.plugin import plugin_parts
from side4video.core.spec import Spec
from side4video.spec.allowed_values import allowed_values
from side4video.spec.experiment import Experiment
from side4video.spec.known_names import advice, near_kind
from side4video.spec.presets import spec_file

Document = TypeVar("Document", bound=Spec)


class SpecError(InputError):
    """One or several errors in a document, one per line."""

    def __init__(self, problems: Sequence[InputError]) -> None:
        self.problems = tuple(problems)
        first = problems[0]
        super().__init__(first.where, first.found, allowed=first.allowed, fix=first.fix)

    def __str__(self) -> str:
        """All errors, one per line."""
        return "\n".join(str(problem) for problem in self.problems)


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that raises an error for a key that is given twice."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=deep)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no text", key_node.start_mark)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _load(text: str, source: str) -> Any:
    """The document of a YAML text, after its size was looked at.

    Raises:
        InputError: It is too deep, or its aliases stand for too many values.
        YAMLError: It is no YAML.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if (count := _count_values(node, {}, 0)) > MAX_VALUES:
            found = f"{count:,} values, aliases written out"
            raise InputError(source, found, allowed=f"at most {MAX_VALUES:,}", fix="use fewer aliases")
        return loader.construct_document(node)
    except RecursionError:
        raise InputError(
            source, "its sections are too deep", allowed=f"at most {MAX_DEPTH} inside each other"
        ) from None
    finally:
        loader.dispose()


def _count_values(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """The values of a node; one that aliases name counts each time, and is looked at once."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if id(node) not in known:
        known[id(node)] = MAX_VALUES + 1  # what holds itself
        inner = []
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        known[id(node)] = 1 + sum(_count_values(each, known, depth + 1) for each in inner)
    return known[id(node)]


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment from a YAML (or resolved JSON) file; `path` may also be the name of a preset.

    The `overrides` are `dotted.path=value`, the value in YAML, and applied before checking.

    Raises:
        InputError: If the file, an override or the document is wrong.
    """
    text = read_text(spec_file(path))
    document = read_yaml(text, str(path))
    if "base" in document and not {"backbone", "method"} & document.keys():
        raise InputError(str(path), "it is a sweep, not an experiment: it has `base`", fix=f"side4video sweep {path}")
    for override in overrides:
        apply_override(document, override)
    return parse_experiment(document, source=str(path), text=text)


def parse_experiment(document: Mapping[str, Any], *, source: str = "spec", text: str = "") -> Experiment:
    """Validate an experiment's document.

    Raises:
        SpecError: If it is wrong; one line for each mistake.
    """
    return parse_document(Experiment, document, source=source, text=text)


def parse_document(kind: type[Document], document: Mapping[str, Any], *, source: str, text: str = "") -> Document:
    """Validate a document of any spec.

    Raises:
        SpecError: If it is wrong; one line for each mistake.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        lines = _line_numbers(text) if text else {}
        found = error.errors(include_url=False)
        # If the members of a list are wrong, Pydantic also reports the list as too short. Keep the errors of the
        # members only.
        inner = [each["loc"][: len(other["loc"])] for each in found for other in found if each is not other]
        relevant = [each for each in found if each["type"] != "too_short" or each["loc"] not in inner]
        problems = [_as_input_error(details, document, source, lines, kind) for details in relevant]
        raise SpecError(_drop_duplicates(problems)) from None


def read_text(path: Path) -> str:
    """The text of a document's file.

    Raises:
        InputError: If it is too large or not UTF-8 text.
    """
    check_size(path, MAX_DOCUMENT_BYTES, "an experiment")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"byte {error.start} is not UTF-8", allowed="UTF-8 text") from None


def read_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping in a YAML document.

    Raises:
        InputError: If it is no YAML, has a key twice, or is no mapping.
    """
    try:
        document = _load(text, source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(
            f"{source}:{line}", error.problem or "not YAML", fix="check indentation, colons and quotes there"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(source, f"not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(
            source, f"holds {_describe_value(document)}", allowed="a mapping with backbone, method and data"
        )
    return document


def apply_override(document: dict[str, Any], override: str) -> None:
    """Set `dotted.path=value` in a document.

    Raises:
        InputError: If the override has no `=`, or its path leads through something that is no section.
    """
    path, equals, value = override.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise InputError(f"--set {override}", "no path=value in it", allowed="--set optimization.learning_rate=1e-4")
    try:
        read = _load(value, f"--set {path}")
    except yaml.YAMLError:
        raise InputError(f"--set {override}", f"the value {value!r} is not YAML") from None
    set_path(document, path.strip(), read, where=f"--set {override}")


def set_path(document: dict[str, Any], path: str, value: Any, *, where: str) -> None:
    """Set the value at a dotted path. Missing sections on the way are created.

    Raises:
        InputError: If the path has an empty part or leads through something that is no section.
    """
    keys = path.split(".")
    if not all(keys):
        raise InputError(where, f"the path {path!r} has an empty part", allowed="names divided by single dots")
    section: Any = document
    if keys[0] == "overrides" and len(keys) > 1:  # a sweep's: its keys are paths themselves, applied in their order
        keys = ["overrides", path.partition(".")[2]]
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise InputError(where, f"{key} is {_describe_value(section)}, not a section")
    section[keys[-1]] = value


def _as_input_error(
    details: ErrorDetails, document: Mapping[str, Any], source: str, lines: Mapping[str, int], kind: type[BaseModel]
) -> InputError:
    where, model = _locate(details["loc"], document, kind)
    if details["type"] == "located":
        where = details.get("ctx", {}).get("where", where)
    found, allowed, fix = _describe(details, where, model)
    line = lines.get(where) or lines.get(where.rpartition(".")[0])
    return InputError(f"{source}:{line}: {where}" if line else f"{source}: {where}", found, allowed=allowed, fix=fix)


_DEFAULT_KINDS: Mapping[str | int, str] = {"task": "recognition", "tracking": "mlflow"}
"""Default kinds of sections that can be written without one."""


def _locate(loc: tuple[str | int, ...], document: Any, kind: type[BaseModel]) -> tuple[str, type[BaseModel] | None]:
    """The YAML path for a Pydantic error location (which also contains union members), and the spec of its last key."""
    parts: list[str] = []
    place, model = document, kind
    owner: type[BaseModel] | None = kind
    for part in loc:
        if isinstance(place, Mapping) and part not in place and place.get("kind", _DEFAULT_KINDS.get(loc[0])) == part:
            model = plugin_parts(parts[-1] if parts else "").get(str(part)) or _union_member(model, str(part))
            continue
        owner = model if isinstance(model, type) and issubclass(model, BaseModel) else None
        parts.append(str(part))
        if isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]  # a list's members are of the kinds that the list's field takes
            kind_given = place.get("kind") if isinstance(place, Mapping) else None
            model = plugin_parts(parts[-2] if len(parts) > 1 else "").get(str(kind_given))
            continue
        place = place.get(part) if isinstance(place, Mapping) else None
        field = owner.model_fields.get(str(part)) if owner else None
        inner = place.get("kind") if isinstance(place, Mapping) else None
        model = plugin_parts(str(part)).get(str(inner)) or _union_member(field.annotation, inner) if field else None
    return ".".join(parts) or "the document", owner


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
            return f"unknown key {key!r}", ", ".join(fields), advice(key, fields, where.rpartition(".")[0])
        case "missing":
            return "missing", _field_hint(owner, key), f"add {_EXAMPLES.get(key, key)}"
        case "union_tag_invalid":
            own = str(context.get("expected_tags", "")).replace("'", "").split(", ")
            kinds, tag = [*plugin_parts(key), *own], str(context.get("tag"))
            return f"unknown kind {tag!r}", ", ".join(kinds), near_kind(tag, kinds)
        case "union_tag_not_found" | "model_type" | "model_attributes_type":
            given = "no kind" if isinstance(value, Mapping) else f"{_describe_value(value)}"
            return (
                given,
                "a section with a kind" if kind == "union_tag_not_found" else "a section",
                f"{key}: {{{_first_key(owner, key)}: ...}}",
            )
        case "literal_error":
            allowed = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
            return f"{value!r}", allowed, near_kind(str(value), allowed.split(", "))
        case "value_error" | "located":
            message = str(context.get("message") or context.get("error") or details["msg"])
            found, _, rest = message.partition(" · allowed: ")
            allowed, _, fix = rest.partition(" · fix: ")
            return found, allowed, fix
        case _:
            found = f"{value!r}" if not isinstance(value, Mapping | list) else _describe_value(value)
            return found, allowed_values(details), ""


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
    field = owner.model_fields.get(key) if owner else None
    return (field.description or "").split(".")[0] if field else ""


def _describe_value(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "a section", list: "a list", str: f"the text {str(value)[:40]!r}", bool: f"{value}"}
    return names.get(type(value), f"{value!r}"[:60])


def _line_numbers(text: str) -> dict[str, int]:
    """Line number of each key of a YAML document, by dotted path."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, path: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = f"{path}.{key.value}" if path else str(key.value)
                lines[inner] = key.start_mark.line + 1
                walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                lines[f"{path}.{number}"] = value.start_mark.line + 1
                walk(value, f"{path}.{number}")

    walk(yaml.compose(text, Loader=yaml.SafeLoader), "")
    return lines


def _drop_duplicates(problems: Iterable[InputError]) -> list[InputError]:
    return list({str(problem): problem for problem in problems}.values())

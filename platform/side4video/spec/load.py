"""Reads a YAML document into a validated spec. Every error is one line with the place, the problem and a fix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from side4video.core.bounded_files import MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_VALUES, check_size
from side4video.core.errors import InputError
from side4video.core.spec import Spec
from side4video.spec.experiment import Experiment
from side4video.spec.presets import spec_file
from side4video.spec.problems import describe_value, problems_of

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


def is_sweep(path: str | Path) -> bool:
    """Whether a file, or a preset, is a sweep: it has the key `base`.

    Raises:
        InputError: If it cannot be read.
    """
    text = read_text(spec_file(path))
    return "base" in text and "base" in read_yaml(text, str(path))  # most experiments need not be parsed twice


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
        problems = problems_of(error.errors(include_url=False), document, source, lines, kind)
        raise SpecError(problems) from None


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
            source, f"holds {describe_value(document)}", allowed="a mapping with backbone, method and data"
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
            raise InputError(where, f"{key} is {describe_value(section)}, not a section")
    section[keys[-1]] = value


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

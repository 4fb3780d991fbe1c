"""Plug-ins: parts of an experiment that stand outside this package.

A document names its plug-ins (`plugins`). While it is checked, their kinds are members of the unions, in the one place
that is written here. `side4video.plugins` loads them.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from side4video.core.metric import MetricSpec
from side4video.core.plugin_fault import PluginFault, is_fault, mend, near_path, plugin_file, raised
from side4video.core.spec import Spec

PartName = Literal["datasets", "methods", "transforms"]


@dataclass(frozen=True)
class Plugin:
    """What a plug-in adds. Its module has one as `PLUGIN`."""

    datasets: tuple[type[Spec], ...] = ()
    """Subclasses of `DatasetSpec`, for `data.dataset`."""
    methods: tuple[type[Spec], ...] = ()
    """Subclasses of `MethodSpec`, for `method`."""
    transforms: tuple[type[Spec], ...] = ()
    """Subclasses of `TransformSpec`, for `data.augmentation.transforms`."""
    recognition_metrics: tuple[MetricSpec, ...] = ()
    """Computed in each evaluation of a recognition task, from its `Scores`."""
    retrieval_metrics: tuple[MetricSpec, ...] = ()
    """Computed in each evaluation of a retrieval task, from its `RankPair`."""


@dataclass(frozen=True)
class LoadedPlugin:
    """A plug-in and the source that it was made from."""

    source: str
    """Its file or module, as a document or an option named it."""
    sha256: str
    """Of its source."""
    plugin: Plugin


_active: ContextVar[tuple[LoadedPlugin, ...]] = ContextVar("plugins of the document that is checked", default=())
_checksums: dict[type[Spec], str] = {}
_sources: dict[type[Spec], str] = {}
_parts: dict[str, dict[str, type[Spec]]] = {"dataset": {}, "method": {}, "transforms": {}}
"""The newest part of each kind, by the field that takes it."""
_metrics: dict[str, MetricSpec] = {}
_WORDS = {"DatasetSpec": "data set", "MethodSpec": "method", "TransformSpec": "transform"}
"""What parts are called, by their base."""


@contextmanager
def active_plugins(loaded: Sequence[LoadedPlugin]) -> Iterator[None]:
    """While a document is checked: these plug-ins' kinds are allowed in it."""
    token = _active.set(tuple(loaded))
    try:
        yield
    finally:
        _active.reset(token)


def remember(loaded: LoadedPlugin) -> None:
    """Remember whose source the parts of a plug-in come from, and what its metrics are called."""
    plugin = loaded.plugin
    for field, parts in zip(_parts, (plugin.datasets, plugin.methods, plugin.transforms), strict=True):
        for part in parts:
            _checksums[part], _sources[part] = loaded.sha256, loaded.source
            _parts[field][kind_of(part)] = part
    for metric in (*plugin.recognition_metrics, *plugin.retrieval_metrics):
        _metrics[metric.name] = metric


def source_checksum(part: type[Spec]) -> str:
    """SHA-256 of the source of a plug-in's part; empty for a part of this package."""
    return _checksums.get(part, "")


def plugin_source(part: type[Spec]) -> str:
    """The file or module that a plug-in's part comes from; in a process that only received it, its module's file."""
    return _sources.get(part) or plugin_file(part)


def part_name(part: type[Spec]) -> str:
    """`method max-probe of my_parts.py`, for messages."""
    bases = {each.__name__ for each in part.__mro__}
    word = next((word for base, word in _WORDS.items() if base in bases), "part")
    return f"{word} {kind_of(part)} of {near_path(plugin_source(part))}"


def plugin_parts(field: str) -> Mapping[str, type[Spec]]:
    """The parts of all plug-ins that this process has loaded for a field such as `method`, by kind: for messages."""
    return _parts.get(field, {})


def plugin_metrics() -> Mapping[str, MetricSpec]:
    """The metrics of all plug-ins that this process has loaded, by name: for titles and units."""
    return _metrics


def kind_of(part: type[Spec]) -> str:
    """The `kind` that a document names the part by; empty if it has none."""
    field = part.model_fields.get("kind")
    return field.default if field is not None and isinstance(field.default, str) else ""


@dataclass(frozen=True)
class PluginKinds:
    """In the annotation of a union: kinds of the document's plug-ins are members, too.

    `Method = Annotated[A | B, Field(discriminator="kind"), PluginKinds("methods")]`
    """

    part: PartName

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Look among the plug-ins' kinds first; the union decides the rest."""
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, serialize: serialize(value), schema=core_schema.any_schema()
            ),
        )

    def _validate(self, value: Any, validate: Callable[[Any], Any]) -> Any:
        parts = {kind_of(part): part for loaded in _active.get() for part in getattr(loaded.plugin, self.part)}
        if isinstance(value, Spec) and type(value) in _checksums:
            return value
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if kind in parts:
            return _checked(parts[kind], value)
        if self.part == "transforms":
            raise PydanticCustomError("located", "{message}", {"message": _unknown_transform(kind, list(parts))})
        return validate(value)


def _checked(part: type[Spec], value: Any) -> Spec:
    """The part of a document's section. Pydantic makes mistakes of the user of what validators raise as ValueError."""
    try:
        return part.model_validate(value)
    except BaseException as error:
        if isinstance(error, ValidationError) or not is_fault(error):
            raise
        found = f"the check of its fields raised {raised(error, plugin_file(part))}"
        raise PluginFault(part_name(part), found, fix=mend(plugin_source(part))) from error


def _unknown_transform(kind: Any, kinds: Sequence[str]) -> str:
    found = f"unknown kind {kind!r}" if kind else "no kind"
    near = difflib.get_close_matches(str(kind), kinds, n=1)
    allowed = ", ".join(kinds) or "none: the document names no plug-in with transforms"
    fix = f"did you mean {near[0]}?" if near else "name the plug-in's file in `plugins`"
    return f"{found} · allowed: {allowed} · fix: {fix}"

"""Says in one sentence what is wrong with the `PLUGIN` of a module, before a document uses its parts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from side4video.core.errors import InputError
from side4video.core.metric import MetricSpec, check_key
from side4video.core.plugin import LoadedPlugin, Plugin, kind_of
from side4video.core.spec import Spec
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.datasets import Dataset
from side4video.data.decode.transform_spec import TransformSpec
from side4video.models.method import MethodSpec
from side4video.models.methods import Method
from side4video.tasks.metrics import METRICS

EXAMPLE = "PLUGIN = Plugin(methods=(MyMethod,))"
BASES: Mapping[str, type[Spec]] = {"datasets": DatasetSpec, "methods": MethodSpec, "transforms": TransformSpec}
METRIC_FIELDS = ("recognition_metrics", "retrieval_metrics")
_REQUIRED: Mapping[str, tuple[str, ...]] = {"datasets": ("classes", "clips"), "methods": (), "transforms": ("apply",)}
_BUILDS = {"recognition": "build", "retrieval": "build_pair"}
_MAX_SHOWN = 60


def check_plugin(plugin: Any, source: str, where: str) -> Plugin:
    """The plug-in of a module, if each of its parts is one.

    Raises:
        InputError: It has none, or a part is of another class, lacks a method, has no kind or metric of its own.
    """
    if not isinstance(plugin, Plugin):
        raise InputError(
            where,
            f"{source} has no PLUGIN"
            if plugin is None
            else f"{source}: PLUGIN is {_shown(plugin) if isinstance(plugin, type) else f'a {type(plugin).__name__}'}",
            allowed="a side4video.plugins.Plugin",
            fix=f"write at its end: {EXAMPLE}",
        )
    for name in (*BASES, *METRIC_FIELDS):
        _check_tuple(name, getattr(plugin, name), source, where)
    if not any(getattr(plugin, name) for name in (*BASES, *METRIC_FIELDS)):
        raise InputError(
            where,
            f"{source}: PLUGIN has no parts",
            allowed=f"a part at least: {', '.join((*BASES, *METRIC_FIELDS))}",
            fix=f"name the class in it: {EXAMPLE}",
        )
    taken = {"datasets": _kinds(Dataset), "methods": _kinds(Method), "transforms": set[str]()}
    for name, base in BASES.items():
        own: dict[str, str] = {}
        for part in getattr(plugin, name):
            _check_part(part, name, base, source, where)
            kind = kind_of(part)
            if kind in taken[name] or kind in own:
                whose = f"that of {own[kind]}, too" if kind in own else "one of the package's"
                found = f"{source}: the kind {kind} of {part.__name__} is {whose}"
                raise InputError(where, found, allowed="another kind", fix="rename it")
            own[kind] = part.__name__
            _check_methods(part, name, base, source, where)
    for name in METRIC_FIELDS:
        _check_metrics(getattr(plugin, name), name, source, where)
    return plugin


def check_names(loaded: Sequence[LoadedPlugin], where: str) -> None:
    """Two plug-ins of one document have no kind and no metric in common.

    Raises:
        InputError: They have.
    """
    owners: dict[tuple[str, str], LoadedPlugin] = {}
    for each in loaded:
        for named in set(_names(each.plugin)):
            other = owners.setdefault(named, each)
            if other is not each:
                raise InputError(
                    where,
                    f"two plug-ins have {named[1]} among their {named[0]}: {other.source} and {each.source}",
                    fix="leave one of them out, or rename it there",
                )


def _names(plugin: Plugin) -> Iterator[tuple[str, str]]:
    for name in BASES:
        yield from ((name, kind_of(part)) for part in getattr(plugin, name))
    for name in METRIC_FIELDS:
        yield from (("metrics", metric.name) for metric in getattr(plugin, name))


def _check_tuple(name: str, parts: Any, source: str, where: str) -> None:
    if not isinstance(parts, tuple | list):
        one = (
            parts.__name__ if isinstance(parts, type) else "MetricSpec(...)" if isinstance(parts, MetricSpec) else "..."
        )
        word = "metrics" if name in METRIC_FIELDS else "classes"
        raise InputError(
            where, f"{source}: {name} is {_shown(parts)}", allowed=f"a tuple of {word}", fix=f"{name}=({one},)"
        )


def _check_part(part: Any, name: str, base: type[Spec], source: str, where: str) -> None:
    if not isinstance(part, type) or not issubclass(part, base):
        label = getattr(part, "__name__", repr(part))
        fix = f"move it out of {name}" if isinstance(part, type) else f"write the class itself: {name}=(MyClass,)"
        raise InputError(where, f"{source}: {label} is not a subclass of {base.__name__}", fix=fix)
    _check_kind(part, name, source, where)


def _check_methods(part: Any, name: str, base: type[Spec], source: str, where: str) -> None:
    """A part has the methods that it cannot do without."""
    needed = [*_REQUIRED[name]]
    if issubclass(part, MethodSpec):
        needed += [build for task, build in _BUILDS.items() if task in part.tasks]
    lacking = [each for each in needed if getattr(part, each) is getattr(base, each)]
    if lacking:
        raise InputError(
            where,
            f"{source}: {part.__name__} has no {lacking[0]}()",
            allowed=f"a class with {', '.join(f'{each}()' for each in needed)}",
            fix=f"write {lacking[0]}() in it",
        )


def _check_kind(part: type[Spec], name: str, source: str, where: str) -> None:
    """A kind is one text, which its Literal and its default agree on."""
    kind = kind_of(part)
    mine = kind if re.fullmatch(r"[A-Za-z0-9_-]+", kind) else f"my-{name[:-1]}"
    fix = f'kind: Literal["{mine}"] = "{mine}"'
    if not kind:
        raise InputError(where, f"{source}: {part.__name__} has no kind", allowed="a text of its own", fix=fix)
    if mine != kind:
        found = f"{source}: the kind {kind!r} of {part.__name__}"
        raise InputError(where, found, allowed="letters without accents, digits, - and _", fix=fix)
    annotation = part.model_fields["kind"].annotation
    if get_origin(annotation) is not Literal or get_args(annotation) != (kind,):
        written = getattr(annotation, "__name__", "") if get_origin(annotation) is not Literal else ""
        written = written or f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
        found = f"{source}: the kind of {part.__name__} is {kind!r}, and its type is {written}"
        raise InputError(where, found, allowed="a Literal of that one text", fix=fix)


def _check_metrics(metrics: Sequence[Any], name: str, source: str, where: str) -> None:
    taken = {metric.name for metric in METRICS} | {"loss", "videos"}
    for metric in metrics:
        if not isinstance(metric, MetricSpec):
            found = f"{source}: {type(metric).__name__} among the metrics"
            raise InputError(where, found, allowed="MetricSpec(name, title, compute)", fix="mend the plug-in")
        for field, is_allowed, allowed in _metric_fields(metric):
            if not is_allowed:
                found = f"{source}: {field} of the metric {metric.name} is {_shown(getattr(metric, field))}"
                raise InputError(where, found, allowed=allowed, fix=f"mend it in {name}")
        try:
            check_key(f"eval/{metric.name}")
        except ValueError as error:
            raise InputError(where, f"{source}: {error}", fix="rename the metric") from None
        if metric.name in taken or "/" in metric.name:
            raise InputError(
                where, f"{source}: the name {metric.name} of a metric is taken", allowed="another name", fix="rename it"
            )
        taken.add(metric.name)


def _metric_fields(metric: MetricSpec) -> Iterator[tuple[str, bool, str]]:
    """Each field, whether its value is allowed, and what is."""
    hub: Any = metric.hub
    yield "name", isinstance(metric.name, str), "a text"
    yield "title", isinstance(metric.title, str) and bool(metric.title), "a text"
    yield "compute", callable(metric.compute), "a function of an evaluation's results"
    yield "heading", isinstance(metric.heading, str), "a text"
    yield "better", metric.better in ("max", "min"), "'max' or 'min'"
    yield "unit", metric.unit in ("%", ""), "'%' or ''"
    yield "in_summary", isinstance(metric.in_summary, bool), "True or False"
    is_pair = isinstance(hub, tuple) and len(hub) == 2 and all(isinstance(each, str) for each in hub)
    yield "hub", hub is None or is_pair, "None, or a pair of texts"


def _shown(value: Any) -> str:
    """`the class MyClips`, `'higher'`, `a MetricSpec`: a value as a message names it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | int | float | tuple | list) and len(repr(value)) <= _MAX_SHOWN:
        return repr(value)
    return "None" if value is None else f"a {type(value).__name__}"


def _kinds(union: Any) -> set[str]:
    return {kind_of(member) for member in get_args(get_args(union)[0])}

"""Loads the plug-ins of a document, and says in one sentence why one cannot be loaded."""

import contextlib
import hashlib
import importlib
import importlib.util
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError

from side4video.core.allowed_plugins import VARIABLE, allow_plugins, file_checksum, find_allowed, is_file_source
from side4video.core.errors import InputError
from side4video.core.metric import MetricSpec, check_key
from side4video.core.plugin import LoadedPlugin, Plugin, kind_of, remember
from side4video.core.spec import Spec
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.datasets import Dataset
from side4video.data.decode.transform_spec import TransformSpec
from side4video.models.method import MethodSpec
from side4video.models.methods import Method
from side4video.plugins.files import module_name
from side4video.tasks.metrics import METRICS

__all__ = ["PluginSpec", "allow_plugins", "load_plugin", "load_plugins"]

_EXAMPLE = "PLUGIN = Plugin(methods=(MyMethod,))"
_BASES: Mapping[str, type[Spec]] = {"datasets": DatasetSpec, "methods": MethodSpec, "transforms": TransformSpec}
_loaded: dict[tuple[str, str], LoadedPlugin] = {}


class PluginSpec(Spec):
    """A Python file or module whose parts the document uses. In a list, its name alone is enough."""

    source: str = Field(min_length=1)
    """Path of a file (`my_parts.py`), or name of a module that is installed (`my_package.my_parts`)."""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of its source. Stored runs have it, so that one that was changed since is refused. Empty: not checked."""


def load_plugins(entries: Sequence[Any], *, where: str = "plugins") -> tuple[list[dict[str, str]], list[LoadedPlugin]]:
    """The plug-ins of a document, loaded, and its entries with the checksum of each source.

    An entry is a text, or a mapping with the fields of `PluginSpec`.

    Raises:
        InputError: One is not allowed, is missing, cannot be imported, was changed, or has parts that do not fit.
    """
    written: list[dict[str, str]] = []
    loaded: list[LoadedPlugin] = []
    for position, entry in enumerate(entries):
        try:
            spec = PluginSpec.model_validate({"source": entry} if isinstance(entry, str) else entry)
        except ValidationError as error:
            raise InputError(
                f"{where}.{position}",
                f"{entry!r} names no plug-in: {error.errors()[0]['msg'].lower()}",
                allowed="a file, a module, or {source: my_parts.py, sha256: 64 hexadecimal digits}",
                fix="write its file: my_parts.py",
            ) from None
        loaded.append(load_plugin(spec.source, spec.sha256, where=f"{where}.{position}"))
        written.append({"source": spec.source, "sha256": loaded[-1].sha256})
    _check_names(loaded, where)
    return written, loaded


def load_plugin(source: str, sha256: str = "", *, where: str = "plugins") -> LoadedPlugin:
    """One plug-in; a source that was loaded before is not run again.

    Raises:
        InputError: As `load_plugins` does.
    """
    allowed = find_allowed(source, sha256)
    if not allowed:
        raise InputError(
            where,
            f"{source} is not allowed here: a document alone never runs code",
            allowed="plug-ins that the command line or the environment names",
            fix=f"if you trust it, add --plugin {source} to the command, or set {VARIABLE}={source}",
        )
    is_file = is_file_source(allowed)
    found = _checksum_of_file(allowed, where) if is_file else _checksum_of_module(allowed, where)
    if sha256 and found != sha256:
        raise InputError(
            where,
            f"{allowed} was changed: its SHA-256 is {found[:12]}…, and the document was written with {sha256[:12]}…",
            allowed="the source as it was",
            fix="bring it back (name it with --plugin), or begin a new run with the changed one",
        )
    key = (allowed, found)
    if key not in _loaded:
        if not is_file and any(other == allowed for other, _ in _loaded):
            raise InputError(where, f"{allowed} was changed after it was imported", fix="start Python anew")
        module = _import(module_name(Path(allowed), found) if is_file else allowed, allowed, where)
        loaded = LoadedPlugin(source, found, _checked(getattr(module, "PLUGIN", None), allowed, where))
        remember(loaded)
        _loaded[key] = loaded
    return _loaded[key]


def _checksum_of_file(file: str, where: str) -> str:
    try:
        return file_checksum(Path(file).read_bytes())
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise InputError(where, f"{file}: {reason}", allowed="a Python file", fix="check the path") from None


def _checksum_of_module(name: str, where: str) -> str:
    """SHA-256 of a module's file; of all Python files of a package."""
    found = None
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(name)
    if found is None or not found.origin:
        raise InputError(
            where, f"there is no module {name}", fix="install it, or name its file: a path that ends in .py"
        )
    if not found.submodule_search_locations:
        return _checksum_of_file(found.origin, where)
    folder = Path(found.origin).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _import(name: str, source: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(
            where,
            f"{source} cannot be imported: {type(error).__name__}: {error}{_line_of(error, source)}",
            fix="mend the plug-in; side4video check-plugin tries it",
        ) from error


def _line_of(error: BaseException, source: str) -> str:
    """`(line 12)`: where in the plug-in's own file an error came up."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == source]
    return f" (line {lines[-1]})" if lines and not isinstance(error, SyntaxError) else ""


def _checked(plugin: Any, source: str, where: str) -> Plugin:
    """The plug-in of a module, if each of its parts is one.

    Raises:
        InputError: It has none, or a part is of another class, has no kind, or a kind that the package has.
    """
    if not isinstance(plugin, Plugin):
        raise InputError(
            where,
            f"{source} has no PLUGIN" if plugin is None else f"{source}: PLUGIN is a {type(plugin).__name__}",
            allowed="a side4video.plugins.Plugin",
            fix=f"write at its end: {_EXAMPLE}",
        )
    taken = {"datasets": _kinds(Dataset), "methods": _kinds(Method), "transforms": set[str]()}
    for name, base in _BASES.items():
        for part in getattr(plugin, name):
            if not isinstance(part, type) or not issubclass(part, base):
                label = getattr(part, "__name__", repr(part))
                raise InputError(
                    where, f"{source}: {label} is not a subclass of {base.__name__}", fix=f"move it out of {name}"
                )
            if not kind_of(part):
                fix = f'kind: Literal["my-{name[:-1]}"] = "my-{name[:-1]}"'
                raise InputError(where, f"{source}: {part.__name__} has no kind", allowed="a text of its own", fix=fix)
            if kind_of(part) in taken[name]:
                found = f"{source}: the kind {kind_of(part)} of {part.__name__} is one of the package's"
                raise InputError(where, found, allowed="another kind", fix="rename it")
    _check_metrics(plugin, source, where)
    return plugin


def _check_metrics(plugin: Plugin, source: str, where: str) -> None:
    names = {metric.name for metric in METRICS} | {"loss", "videos"}
    for metric in (*plugin.recognition_metrics, *plugin.retrieval_metrics):
        if not isinstance(metric, MetricSpec):
            found = f"{source}: {type(metric).__name__} among the metrics"
            raise InputError(where, found, allowed="MetricSpec(name, title, compute)", fix="mend the plug-in")
        try:
            check_key(f"eval/{metric.name}")
        except ValueError as error:
            raise InputError(where, f"{source}: {error}", fix="rename the metric") from None
        if metric.name in names or "/" in metric.name:
            raise InputError(
                where, f"{source}: the name {metric.name} of a metric is taken", allowed="another name", fix="rename it"
            )


def _check_names(loaded: Sequence[LoadedPlugin], where: str) -> None:
    """Two plug-ins of one document have no kind and no metric in common."""
    owners: dict[tuple[str, str], str] = {}
    for each in loaded:
        parts = {(name, kind_of(part)) for name in _BASES for part in getattr(each.plugin, name)}
        metrics = (*each.plugin.recognition_metrics, *each.plugin.retrieval_metrics)
        for named in parts | {("metrics", metric.name) for metric in metrics}:
            other = owners.setdefault(named, each.sha256)
            if other != each.sha256:
                found = f"two plug-ins have {named[1]} among their {named[0]}"
                raise InputError(where, found, fix="leave one of them out, or rename it there")


def _kinds(union: Any) -> set[str]:
    return {kind_of(member) for member in get_args(get_args(union)[0])}

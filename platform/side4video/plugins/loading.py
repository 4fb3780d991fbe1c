"""Loads the plug-ins of a document, and says in one sentence why one cannot be loaded."""

import difflib
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from side4video.core.allowed_plugins import (
    VARIABLE,
    allow_plugins,
    check_divider,
    file_checksum,
    find_allowed,
    is_file_source,
    unreadable,
)
from side4video.core.errors import InputError, Interrupted, Terminated
from side4video.core.plugin import LoadedPlugin, remember
from side4video.core.plugin_fault import mend, raised
from side4video.core.spec import Spec
from side4video.plugins.checking import check_names, check_plugin
from side4video.plugins.files import module_name
from side4video.plugins.guards import guard_parts

__all__ = ["PluginSpec", "allow_plugins", "load_plugin", "load_plugins"]

_STOPS = (KeyboardInterrupt, Terminated, Interrupted)
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
    places: dict[str, str] = {}
    for position, entry in enumerate(entries):
        place = f"{where}.{position}"
        spec = _read_entry(entry, place)
        loaded.append(load_plugin(spec.source, spec.sha256, where=place))
        written.append({"source": spec.source, "sha256": loaded[-1].sha256})
        found = find_allowed(spec.source, spec.sha256)
        if found in places:
            raise InputError(
                place,
                f"{spec.source} is the plug-in of {places[found]}",
                allowed="each once",
                fix="leave one of them out",
            )
        places[found] = place
    check_names(loaded, where)
    return written, loaded


def _read_entry(entry: Any, where: str) -> PluginSpec:
    try:
        return PluginSpec.model_validate({"source": entry} if isinstance(entry, str) else entry)
    except ValidationError as error:
        raise InputError(
            where,
            f"{_shown(entry)} names no plug-in{_why(entry, error)}",
            allowed="a file, a module, or {source: my_parts.py, sha256: 64 hexadecimal digits}",
            fix="write its file: my_parts.py",
        ) from None


def _shown(entry: Any) -> str:
    return "an empty entry" if entry is None else str(entry).lower() if isinstance(entry, bool) else repr(entry)


def _why(entry: Any, error: ValidationError) -> str:
    """What is wrong with an entry that has fields."""
    if not isinstance(entry, Mapping):
        return ""
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, PluginSpec.model_fields, n=1, cutoff=0.5)
        return f": unknown key {field!r}" + (f", did you mean {near[0]}?" if near else "")
    if first["type"] == "missing":
        return f": {field} is missing"
    return f": {field} is no such text"


def load_plugin(source: str, sha256: str = "", *, where: str = "plugins") -> LoadedPlugin:
    """One plug-in; a source that was loaded before is not run again.

    Raises:
        InputError: As `load_plugins` does.
    """
    check_divider(source, where)
    allowed = find_allowed(source, sha256)
    if not allowed:
        raise InputError(
            where,
            f"{source} is not allowed here: a document alone never runs code",
            allowed="plug-ins that the command line or the environment names",
            fix=f"if you trust it, add --plugin {source} to the command, or set {VARIABLE}={source}; "
            f"in Python: side4video.allow_plugins({json.dumps(source, ensure_ascii=False)})",
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
        plugin = check_plugin(getattr(module, "PLUGIN", None), allowed, where)
        guard_parts(plugin)
        loaded = LoadedPlugin(source, found, plugin)
        remember(loaded)
        _loaded[key] = loaded
    return _loaded[key]


def _checksum_of_file(file: str, where: str) -> str:
    try:
        return file_checksum(Path(file).read_bytes())
    except OSError as error:
        raise InputError(
            where, f"{file}: {unreadable(file, error)}", allowed="a Python file", fix="check the path"
        ) from None


def _checksum_of_module(name: str, where: str) -> str:
    """SHA-256 of a module's file; of all Python files of a package."""
    found = None
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        pass
    except _STOPS:
        raise
    except BaseException as error:  # the packages above it are imported
        raise _not_imported(error, name, where) from error
    if found is None:
        raise InputError(
            where, f"there is no module {name}", fix="install it, or name its file: a path that ends in .py"
        )
    if not found.has_location or not found.origin or not found.origin.endswith(".py"):
        kind = "a folder without __init__.py" if found.submodule_search_locations else "a module without Python source"
        raise InputError(
            where,
            f"{name} is {kind}, so it is no plug-in",
            allowed="a Python file, or a module or package that is written in Python",
            fix="name the file of the plug-in: a path that ends in .py",
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
    except _STOPS:
        raise
    except (
        BaseException
    ) as error:  # libraries have errors of their own that are no `Exception`, such as pytest's Skipped
        raise _not_imported(error, source, where) from error


def _not_imported(error: BaseException, source: str, where: str) -> InputError:
    found = f"{source} cannot be imported: {raised(error, source)}"
    return InputError(where, found, fix=mend(source))

"""Imports plug-ins that are single files: `side4video.plugins.files.NAME_CHECKSUM` is the file NAME.py.

The name holds the first digits of the file's SHA-256, and only files that are allowed are found. So a process that
receives an object of a plug-in (a decoding process, a worker) imports the very source that the object was made from.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from side4video.core.allowed_plugins import allowed_plugins, file_checksum, is_file_source
from side4video.plugins.guards import guard_parts

_DIGITS = 16


def module_name(path: Path, sha256: str) -> str:
    """The name under which a file with this content is imported."""
    return f"{__name__}.{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{sha256[:_DIGITS]}"


class _FileFinder(importlib.abc.MetaPathFinder):
    """Finds the modules below this package among the files that are allowed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a plug-in's module; None for all others."""
        del path, target
        if not fullname.startswith(f"{__name__}."):
            return None
        for source in filter(is_file_source, allowed_plugins()):
            file = Path(source)
            try:
                content = file.read_bytes()
            except OSError:
                continue
            if module_name(file, file_checksum(content)) == fullname:
                return importlib.util.spec_from_loader(fullname, _FileLoader(file, content), origin=str(file))
        return None


class _FileLoader(importlib.abc.Loader):
    """Runs the bytes whose checksum was taken, and writes no cache beside the file."""

    def __init__(self, file: Path, content: bytes) -> None:
        self.file, self.content = file, content

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """The usual module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        module.__file__ = str(self.file)
        exec(compile(self.content, str(self.file), "exec"), module.__dict__)  # noqa: S102 - allowed by the user
        guard_parts(getattr(module, "PLUGIN", None))  # a process that receives a part has no document that loads it


if not any(isinstance(finder, _FileFinder) for finder in sys.meta_path):
    sys.meta_path.append(_FileFinder())

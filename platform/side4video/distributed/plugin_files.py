"""Plug-ins that the command allows, for Ray's workers, which have neither its environment nor always its disk."""

import atexit
import functools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from side4video.core.allowed_plugins import allow_plugins, allowed_plugins, file_checksum, is_file_source
from side4video.core.temporary import temporary_folder


@dataclass(frozen=True)
class PluginFiles:
    """The plug-ins that are allowed where the command was called."""

    modules: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    """Path and content of each file."""

    @classmethod
    def current(cls) -> "PluginFiles":
        """Those that this process allows and can read."""
        allowed = allowed_plugins()
        files = tuple((each, Path(each).read_bytes()) for each in allowed if is_file_source(each) and _is_file(each))
        return cls(tuple(each for each in allowed if not is_file_source(each)), files)

    def allow_here(self) -> None:
        """Allow them in this process and its children. A file that this machine lacks, or has otherwise, is written."""
        allow_plugins(*self.modules)
        for path, content in self.files:
            if not (_is_file(path) and Path(path).read_bytes() == content):
                copy = _folder_of_copies() / file_checksum(content)[:16] / Path(path).name
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(content)
                path = str(copy)
            allow_plugins(path)


@functools.cache
def _folder_of_copies() -> Path:
    """A folder that is there until the process ends: its children import the files, too."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder())


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False

"""Which plug-ins may be loaded. A document alone never runs code: an option or the environment allows it."""

import hashlib
import os
from pathlib import Path

VARIABLE = "SIDE4VIDEO_PLUGINS"
"""Environment variable with the files and modules that may be loaded, divided as those of PYTHONPATH are."""


def allowed_plugins() -> tuple[str, ...]:
    """The files and modules that may be loaded."""
    return tuple(each for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each)


def allow_plugins(*sources: str | os.PathLike[str]) -> None:
    """Allow files (`my_parts.py`) and modules (`my_package.my_parts`) to be loaded, here and in child processes."""
    texts = [os.fspath(each) for each in sources]
    named = [str(Path.cwd() / each) if is_file_source(each) else each for each in texts]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*allowed_plugins(), *named]))


def is_file_source(source: str) -> bool:
    """Whether a plug-in is named by its file, not by its module."""
    return source.endswith(".py") or "/" in source


def find_allowed(source: str, sha256: str = "") -> str:
    """The allowed file or module that a document's plug-in is; empty if it is not allowed.

    A file is known by its path, or else by its name, so that a stored run and an exported model find it elsewhere; of
    several files of that name, the one with the checksum is taken.
    """
    allowed = allowed_plugins()
    if not is_file_source(source):
        return source if source in allowed else ""
    files = [each for each in allowed if is_file_source(each)]
    same_path = [each for each in files if os.path.realpath(each) == os.path.realpath(source)]
    same_name = [each for each in files if Path(each).name == Path(source).name]
    same_content = [each for each in (*same_path, *same_name) if sha256 and _has_checksum(each, sha256)]
    return next(iter((*same_content, *same_path, *same_name)), "")


def file_checksum(content: bytes) -> str:
    """SHA-256 of a plug-in that is one file."""
    return hashlib.sha256(content).hexdigest()


def _has_checksum(file: str, sha256: str) -> bool:
    try:
        return file_checksum(Path(file).read_bytes()) == sha256
    except OSError:
        return False

"""Which plug-ins may be loaded. A document alone never runs code: an option or the environment allows it."""

import errno
import hashlib
import os
from pathlib import Path

from side4video.core.arguments import check_text
from side4video.core.errors import InputError

VARIABLE = "SIDE4VIDEO_PLUGINS"
"""Environment variable with the files and modules that may be loaded, divided as those of PYTHONPATH are."""


def allowed_plugins() -> tuple[str, ...]:
    """The files and modules that may be loaded."""
    return tuple(each for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each)


def allow_plugins(*sources: str | os.PathLike[str]) -> None:
    """Allow files (`my_parts.py`) and modules (`my_package.my_parts`) to be loaded, here and in child processes.

    Raises:
        InputError: A file is not there, or has the character that divides the paths of the environment variable.
    """
    for each in sources:
        fix = 'allow_plugins("my_parts.py")'
        check_text("plug-ins", each, allowed="a Python file, or a module", fix=fix, path=True)
    texts = [os.fspath(each) for each in sources]
    named = [str(Path.cwd() / each) if is_file_source(each) else each for each in texts]
    for each in named:
        check_divider(each, "plug-ins")
        if is_file_source(each) and not os.path.isfile(each):  # noqa: PTH113 - false for all that the system refuses
            raise InputError(
                "plug-ins", f"{each}: {unreadable(each)}", allowed="a Python file, or a module", fix="check the path"
            )
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*allowed_plugins(), *named]))


def check_divider(source: str, where: str) -> None:
    """Refuse a plug-in that cannot be named in the environment variable.

    Raises:
        InputError: Its name has the character that divides the paths there.
    """
    if os.pathsep in source:
        raise InputError(
            where,
            f"{source} has {os.pathsep!r} in its name, which divides the paths in {VARIABLE}",
            allowed=f"a path without {os.pathsep!r}",
            fix="rename the file or the folder",
        )


def is_file_source(source: str) -> bool:
    """Whether a plug-in is named by its file, not by its module."""
    return source.endswith(".py") or "/" in source


def find_allowed(source: str, sha256: str = "") -> str:
    """The allowed file or module that a document's plug-in is; empty if it is not allowed.

    A file is known by its path. One that the document pins by a checksum, or whose path is not there, is known by its
    name, too, so that a stored run and an exported model find it elsewhere; of several files of that name, the one with
    the checksum is taken.
    """
    allowed = allowed_plugins()
    if not is_file_source(source):
        return source if source in allowed else ""
    files = [each for each in allowed if is_file_source(each)]
    same_path = [each for each in files if os.path.realpath(each) == os.path.realpath(source)]
    # Another file of that name must not take the place of one that is there: nobody would notice.
    by_name = bool(sha256) or not os.path.exists(source)  # noqa: PTH110 - false for all that the system refuses
    same_name = [each for each in files if by_name and Path(each).name == Path(source).name]
    same_content = [each for each in (*same_path, *same_name) if sha256 and _has_checksum(each, sha256)]
    return next(iter((*same_content, *same_path, *same_name)), "")


def unreadable(file: str | os.PathLike[str], error: OSError | None = None) -> str:
    """Why a path is no file that can be read."""
    path = Path(file)
    try:
        if path.is_dir():
            return "it is a folder"
        if path.is_symlink() and not path.exists():
            return "a link that leads to itself" if _leads_to_itself(path) else "a link to a file that is not there"
    except OSError as found:
        error = found
    if error is None or error.errno == errno.ENOENT:
        return "no such file"
    return (error.strerror or "it cannot be read").lower()


def _leads_to_itself(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def file_checksum(content: bytes) -> str:
    """SHA-256 of a plug-in that is one file."""
    return hashlib.sha256(content).hexdigest()


def _has_checksum(file: str, sha256: str) -> bool:
    try:
        return file_checksum(Path(file).read_bytes()) == sha256
    except OSError:
        return False

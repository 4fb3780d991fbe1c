"""Paths in specs may contain `~` and `${NAME}`, so that a spec is independent of the machine."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from side4video.core.errors import InputError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def variables(text: str) -> list[str]:
    """The names of the environment variables `${NAME}` in a text, without duplicates."""
    return list(dict.fromkeys(_VARIABLE.findall(text)))


def expand(path: str, where: str = "path") -> str:
    """The path with `${NAME}` replaced by environment variables and a leading `~` by the home folder.

    A `$` without braces is kept, because file names may contain it. `where` is the field's name, for the error.

    Raises:
        InputError: A variable is not set or empty, or the braces contain no valid name.
    """
    unset = [name for name in _VARIABLE.findall(path) if not os.environ.get(name)]
    if unset:
        raise InputError(
            where,
            f"the environment variable {unset[0]} in {path!r} is not set",
            fix=f"export {unset[0]}=/some/folder, or write the path itself",
        )
    if "${" in _VARIABLE.sub("", path):
        raise InputError(where, f"{path!r} holds a broken variable", allowed="${NAME}, letters, digits and _")
    return os.path.expanduser(_VARIABLE.sub(lambda match: os.environ[match[1]], path))  # noqa: PTH111 - text in, text out


def absolute_path(text: str) -> str:
    """A path of this machine, absolute and without links; other texts, such as `${CLIPS}/a`, as they are."""
    return os.path.realpath(text) if _is_plain(text) else text


def near_path(text: str) -> str:
    """A path in one spelling: relative if it is below the current folder, otherwise absolute.

    So `list.csv`, `./list.csv` and `/work/list.csv` are one in `/work`. Other texts, such as `${CLIPS}/a`, stay.
    """
    if not _is_plain(text):
        return text
    path, here = os.path.abspath(text), os.path.abspath(".")  # noqa: PTH100 - links stay, as the user wrote them
    is_below = path == here or path.startswith(f"{here.rstrip('/')}/")
    return os.path.relpath(path, here) if is_below else path


def _is_plain(text: str) -> bool:
    return bool(text) and not text.startswith("~") and "${" not in text and "://" not in text


def home() -> Path:
    """`$SIDE4VIDEO_HOME`, or `~/.side4video`; created on first use.

    Raises:
        InputError: It is no folder, it cannot be made or entered, or its name would be taken for another in a URI.
    """
    folder = home_path()
    text = str(folder)
    if "?" in text or unquote(text) != text:
        raise InputError(
            "SIDE4VIDEO_HOME",
            f"{text!r}: SQLite's addresses give `?` and `%` with two digits another meaning",
            allowed="any folder without `?` and without `%` before two digits",
            fix="rename the folder, or name another one",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        next(folder.iterdir(), None)
    except OSError as error:
        reason = "it is a link to nothing" if folder.is_symlink() and not folder.exists() else error.strerror
        raise InputError(
            "SIDE4VIDEO_HOME",
            f"{folder} cannot be used ({reason})",
            allowed="a folder that can be read, or a place where one can be made",
            fix="export SIDE4VIDEO_HOME=/some/folder",
        ) from error
    return folder


def home_path() -> Path:
    """The path of `home`, which need not exist."""
    return Path(os.environ.get("SIDE4VIDEO_HOME") or Path.home() / ".side4video").expanduser().absolute()

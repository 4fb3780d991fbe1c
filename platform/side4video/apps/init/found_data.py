"""What `init` found at a source: a data set's section, and what it is divided by."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from side4video.core.errors import InputError
from side4video.data.datasets import Dataset

TaskKind = Literal["recognition", "retrieval"]

_DATASET: TypeAdapter[Any] = TypeAdapter(Dataset)

VIDEO_ENDINGS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv")
"""Of files that are taken for videos, in lower case; the same as those of `kind: folder`."""


@dataclass(frozen=True)
class FoundData:
    """A source, as far as it is known without opening a video."""

    what: str
    """What it is, for people: `a folder with one folder for each class`."""
    dataset: dict[str, Any]
    """The section `data.dataset`; without `split_by` if `is_divided` is false."""
    task: TaskKind
    place: Path
    """The folder or file, which names the experiment."""
    is_divided: bool
    """Whether the source says which clips are for test."""
    split_text: str = ""
    """How it is divided, if it is, for people."""
    groups: str = ""
    """What tells which clips belong together, for people; empty if nothing does."""
    missing_share: float = 0.0
    """The share of listed videos that are not there, 0 to 1."""
    new_list: Sequence[dict[str, Any]] = ()
    """Lines of a JSON Lines file that is to be written, and that `dataset` needs under `annotations`."""
    notes: list[str] = field(default_factory=list)
    """What a user should know."""


def absolute_text(path: Path, given: str = "") -> str:
    """A path as a document names it: absolute and plain, or as it was given if it begins with `~` or `${`.

    Raises:
        InputError: Its name cannot stand in a document.
    """
    if given.startswith(("~", "${")):
        return given.rstrip("/")
    text = str(plain_path(path))
    if "${" in text:
        raise InputError(
            text,
            "`${` in the name, which would be taken for an environment variable",
            fix="rename the folder, or give it as an environment variable: side4video init '${MY_CLIPS}'",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(text, "its name is not UTF-8, and a document is", fix="rename it") from None
    return text


def plain_path(path: Path) -> Path:
    """The absolute path without `..`. Links stay, but for those that `..` leads out of."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow all links
    if ".." not in path.parts:
        return plain
    try:
        return plain if plain.samefile(path) else path.resolve()
    except OSError:
        return path.resolve()


def is_video_name(name: str) -> bool:
    """Whether a file's name ends as those of videos do."""
    return name.lower().endswith(VIDEO_ENDINGS)


def read_dataset(document: Mapping[str, Any]) -> Any:
    """The data set of a section `data.dataset`.

    Raises:
        InputError: The section is wrong, as the user has changed it.
    """
    try:
        return _DATASET.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["data.dataset", *map(str, first["loc"][1:])])
        raise InputError(where, first["msg"], fix="correct it with --set") from None

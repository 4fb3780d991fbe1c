"""Reads pickles that contain only lists, dictionaries, numbers and text, without executing anything.

MSVD's captions are published as a pickle. A pickle is a program: `pickle.load` imports and calls whatever the file
names, and no file from a user may be executed. All imports of a pickle go through `find_class`, which refuses every
name here.
"""

import io
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from side4video.core.errors import InputError
from side4video.data.annotations.tables import file_version

_READ_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    MemoryError,
)


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle. It is cached, so the caller must not change it.

    Raises:
        InputError: The file is missing or no pickle, or asks for anything that would have to be imported.
    """
    return _read_plain_pickle(path, file_version(path))


@lru_cache(maxsize=1)
def _read_plain_pickle(path: Path, version: tuple[int, ...]) -> Any:  # noqa: ARG001 - version is for the cache
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"the annotation file cannot be read: {error.strerror}") from error
    try:
        # Pickles of Python 2 hold text as bytes.
        return _PlainUnpickler(io.BytesIO(raw), encoding="utf-8").load()
    except _ForbiddenReference as error:
        raise InputError(
            str(path),
            f"the pickle asks for {error}, and nothing that a file holds is executed",
            allowed="lists, dictionaries, numbers and text",
            fix="get the file again from where it is published, or write its content as JSON",
        ) from error
    except _READ_ERRORS as error:
        raise InputError(
            str(path), f"not a readable pickle: {error}", fix="is the file cut off, or of another sort?"
        ) from error


class _ForbiddenReference(pickle.UnpicklingError):
    """The pickle refers to something that would have to be imported."""


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that refuses classes, functions and references to objects outside the file."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise _ForbiddenReference(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _ForbiddenReference(f"the object {pid!r:.60} outside the file")

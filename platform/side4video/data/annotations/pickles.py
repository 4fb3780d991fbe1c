"""Pickles that hold nothing but lists, dictionaries, numbers and text, read without executing anything.

A pickle is a program: `pickle.load` imports and calls whatever the file asks for. All of that goes through one
method, which refuses here whatever it is asked for.
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
    """What a pickle holds; it is shared between callers, so it must not be changed.

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
            str(path), f"no pickle that can be read: {error}", fix="is the file cut off, or of another sort?"
        ) from error


class _ForbiddenReference(pickle.UnpicklingError):
    """The pickle asks for something that would have to be imported."""


class _PlainUnpickler(pickle.Unpickler):
    """Refuses classes, functions and references to objects outside the file."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise _ForbiddenReference(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _ForbiddenReference(f"the object {pid!r:.60} outside the file")

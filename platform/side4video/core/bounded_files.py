"""Bounds on files, checked before they are read: a small file must not cost gigabytes, a large one must not be read."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.core.units import format_bytes

MAX_DOCUMENT_BYTES = 256 * 2**10
"""Of an experiment or a sweep: five thousand lines."""
MAX_DEPTH = 100
"""Of sections inside sections."""
MAX_VALUES = 100_000
"""Of a YAML document, aliases written out."""
MAX_JSON_BYTES = 2**30
"""Of a list of clips or captions."""
MAX_LABEL_BYTES = 2**20
"""Of what says label and captions of one clip."""
MAX_NAME_LENGTH = 500
"""Characters of a class."""
MAX_HEADER_BYTES = 8 * 2**20
"""Of a safetensors file: fifty thousand tensors."""
MAX_PICKLE_BYTES = 64 * 2**20
"""Of the part of a torch file that says which tensors there are."""


def check_size(path: Path, limit: int, what: str) -> None:
    """Compare a file's size with a bound.

    Raises:
        InputError: It is larger.
        OSError: There is no such file.
    """
    size = path.stat().st_size
    if size > limit:
        raise InputError(
            str(path), f"{format_bytes(size)}, too large for {what}", allowed=f"at most {format_bytes(limit)}"
        )


def parse_json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """A JSON document.

    Args:
        text: The document.
        pairs: Makes an object of its fields; a dictionary if None.

    Raises:
        ValueError: It is not JSON, or too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("its brackets are too deep") from None


def check_weights_file(path: Path) -> None:
    """Look at the first bytes, or at the list of members, of a safetensors or torch file.

    Raises:
        ValueError: Its header, its pickle, or what its members unpack to is too large.
    """
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        length = int.from_bytes(head[:8], "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(
                f"its header has {format_bytes(length)}, and at most {format_bytes(MAX_HEADER_BYTES)} are read"
            )
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > 2 * path.stat().st_size + MAX_PICKLE_BYTES:
            raise ValueError(f"it is compressed and unpacks to {format_bytes(unpacked)}; torch compresses nothing")
        for member in members:
            if member.filename.endswith(".pkl") and member.file_size > MAX_PICKLE_BYTES:
                size, limit = format_bytes(member.file_size), format_bytes(MAX_PICKLE_BYTES)
                raise ValueError(f"its {member.filename} has {size}, and at most {limit} are read")

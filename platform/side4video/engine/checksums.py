"""What a folder holds, so that damage to any byte of it is found before somebody trusts it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FileSum = dict[str, Any]
"""`bytes` and `sha256` of a file."""

OWN = "checksum"
"""The key under which a document says its own."""


def sums_of(folder: Path) -> dict[str, FileSum]:
    """Size and checksum of every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sum(path) for path in files}


def damaged(folder: Path, expected: Mapping[str, FileSum]) -> list[str]:
    """What is wrong with the files of a folder, a line each; files that nobody expected do not count."""
    found = []
    for name, wanted in sorted(expected.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != wanted["bytes"]:
            found.append(f"{name} has {path.stat().st_size:,} bytes, not {wanted['bytes']:,}")
        elif _sum(path)["sha256"] != wanted["sha256"]:
            found.append(f"{name} has other bytes than were written")
    return found


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON document with its own checksum in it."""
    plain = json.loads(json.dumps(document))
    return {**plain, OWN: _own_sum(plain)}


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a document is as it was sealed."""
    return document.get(OWN) == _own_sum({key: value for key, value in document.items() if key != OWN})


def _own_sum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _sum(path: Path) -> FileSum:
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}

"""What a folder holds, so that damage to any byte of it is found before somebody trusts it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FileChecksum = dict[str, Any]
"""`bytes` and `sha256` of a file."""

OWN = "checksum"
"""The key under which a document says its own."""


def file_checksums(folder: Path) -> dict[str, FileChecksum]:
    """Size and checksum of every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum_of(path) for path in files}


def damaged(folder: Path, expected: Mapping[str, FileChecksum]) -> list[str]:
    """What is wrong with the files of a folder, a line each; files that nobody expected do not count."""
    found = []
    for name, wanted in sorted(expected.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != wanted["bytes"]:
            found.append(f"{name} has {path.stat().st_size:,} bytes, not {wanted['bytes']:,}")
        elif checksum_of(path)["sha256"] != wanted["sha256"]:
            found.append(f"{name} has other bytes than were written")
    return found


def with_checksum(document: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON document with its own checksum in it."""
    plain = json.loads(json.dumps(document))
    return {**plain, OWN: _document_checksum(plain)}


def has_valid_checksum(document: Mapping[str, Any]) -> bool:
    """Whether a document is as it was sealed."""
    return document.get(OWN) == _document_checksum({key: value for key, value in document.items() if key != OWN})


def _document_checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checksum_of(path: Path) -> FileChecksum:
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}

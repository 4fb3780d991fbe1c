"""Files that are whole or not there at all, and checksums of files and JSON documents, to detect damage."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FileChecksum = dict[str, Any]
"""`bytes` and `sha256` of a file."""

CHECKSUM_KEY = "checksum"
"""The key of a document's own checksum."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that its readers never see half of it; its folder is made if it is missing."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def file_checksums(folder: Path) -> dict[str, FileChecksum]:
    """Size and checksum of every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum_of(path) for path in files}


def corrupted_files(folder: Path, expected: Mapping[str, FileChecksum]) -> list[str]:
    """Missing and damaged files of a folder, one line each; files without an expected checksum are ignored."""
    found = []
    for name, entry in sorted(expected.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            found.append(f"{name} has {path.stat().st_size:,} bytes, not {entry['bytes']:,}")
        elif checksum_of(path)["sha256"] != entry["sha256"]:
            found.append(f"{name} has other bytes than were written")
    return found


def with_checksum(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its checksum added."""
    plain = json.loads(json.dumps(document))
    return {**plain, CHECKSUM_KEY: _document_checksum(plain)}


def has_valid_checksum(document: Mapping[str, Any]) -> bool:
    """Whether a document matches its checksum."""
    return document.get(CHECKSUM_KEY) == _document_checksum(
        {key: value for key, value in document.items() if key != CHECKSUM_KEY}
    )


def _document_checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checksum_of(path: Path) -> FileChecksum:
    """Size and SHA-256 of a file."""
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}

"""Files that are whole or not there at all, and checksums of files and JSON documents, to detect damage."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.held_lock import hold

FileChecksum = dict[str, Any]
"""`bytes` and `sha256` of a file."""

CHECKSUM_KEY = "checksum"
"""The key of a document's own checksum."""


WRITING_LOCK = ".writing.lock"
"""In a folder while files of it are replaced together."""
_WAIT_SECONDS = 60.0
"""How long to wait while another process replaces files; that takes milliseconds."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that its readers never see half of it; its folder is made if it is missing.

    Raises:
        OSError: It cannot be written; the error names the file. What was there before is kept.
    """
    with replacing(path) as partial:
        partial.write_bytes(_as_bytes(content))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file to, which takes the place of `path` when the block ends without an error.

    The folder of `path` is made if it is missing. Of a link, the file that it names is written. After an error nothing
    is left, and what was there before is kept.
    """
    if path.is_symlink():
        path = path.resolve()
    partial = _partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename in {None, str(partial)}:  # a write that fails does not say to which file
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_together(folder: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    """Write files of a folder, text as UTF-8, all or none; files of the same names are replaced.

    The folder is made if it is missing. If two processes do this at once, all files are those of the later one.

    Returns:
        The files, in the order of `contents`.

    Raises:
        InputError: The disk is full or cannot be written; the files that were there before are kept.
    """
    content_of = {folder / name: _as_bytes(content) for name, content in contents.items()}
    partials = {path: _partial_of(path) for path in content_of}
    with explaining_disk_errors(folder, wanted=sum(map(len, content_of.values()))):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in content_of.items():
                partials[path].write_bytes(content)
            what, fix = str(folder), "call the same command again"
            with hold(folder / WRITING_LOCK, what=what, fix=fix, wait_seconds=_WAIT_SECONDS):
                for path, partial in partials.items():
                    partial.replace(path)
        finally:
            for partial in partials.values():
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
    return list(content_of)


def _partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


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

"""Access to files on this machine, on remote stores that fsspec supports, and to byte ranges of files.

An address is text:

    /clips/a.mp4                            a file or a folder of this machine
    s3://clips/a.mp4, gs://..., https://... a file or a folder that fsspec reaches; `s3` needs s3fs, `gs` needs gcsfs
    /shards/000003.tar?bytes=512+88213      88,213 bytes of a file from byte 512 on: a member of an archive

Listings of remote folders are cached. A remote video is read into memory as a whole each time it is decoded.
"""

import os
import posixpath
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from side4video.core.errors import InputError
from side4video.core.paths import expand

ATTEMPTS = 3
"""Number of attempts to read from a remote store."""

_REMOTE_PREFIX = re.compile(r"[a-z][a-z0-9+.-]*://")
_PART = re.compile(r"\?bytes=(\d+)\+(\d+)$")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_WAIT_SECONDS = 0.5

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry in the listing of a folder."""

    name: str
    is_folder: bool
    bytes: int | None = None
    """Of a remote file, if the listing contains it."""
    modified_ns: int = 0
    """Of a remote file, if the listing contains it."""


def is_remote(address: str) -> bool:
    """Whether the address is on a remote store."""
    return _REMOTE_PREFIX.match(address) is not None


def is_relative(text: str) -> bool:
    """Whether a path in a document begins in the folder that the command is called in."""
    return not is_remote(text) and not text.startswith(("/", "~", "${"))


def root_address(text: str, field: str) -> str:
    """The address of a folder in a document: `${NAME}` and `~` replaced, a relative path made absolute.

    Raises:
        InputError: A variable is not set, or the protocol is not known or lacks its package.
    """
    address = expand(text, field)
    if not is_remote(address):
        return os.path.abspath(address)  # noqa: PTH100 - resolve() would follow links out of the folder
    _file_system(address, field)
    return address.rstrip("/")


def join_address(folder: str, name: str) -> str:
    """The address of a file or folder in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def resolve_inside(root: str, path: str, origin: str) -> str:
    """The address of a listed path under the root. Joined as text, because there may be hundreds of thousands.

    Raises:
        InputError: It leaves the root.
    """
    if is_remote(root):
        normal = posixpath.normpath(path)
        is_outside = normal.startswith(("/", "..")) or is_remote(path)
        joined = join_address(root, normal)
    else:
        joined = os.path.normpath(os.path.join(root, path))  # noqa: PTH118
        is_outside = not joined.startswith(os.path.join(root, ""))  # noqa: PTH118
    if is_outside:
        raise InputError(
            origin,
            f"the path {path!r} leaves the root folder {root}",
            fix="set `root: /` for absolute paths"
            if path.startswith("/") and not is_remote(root)
            else "write paths relative to `root`, or set `root` to a folder that holds them all",
        )
    return joined


def relative_path(address: str, root: str) -> str:
    """The path of an address relative to a root, with `/` on every system."""
    if is_remote(address):
        return address.removeprefix(f"{root}/")
    if address.startswith(f"{root}/") and not ("//" in address or "/." in address or address.endswith("/")):
        return address[len(root) + 1 :]  # the usual case, ten times as fast
    return Path(os.path.relpath(address, root)).as_posix()


def common_root(addresses: list[str]) -> str:
    """The deepest folder that contains all addresses."""
    if not addresses:
        return ""
    protocol = _REMOTE_PREFIX.match(addresses[0])
    start = protocol.end() if protocol else 0
    folders = {os.path.dirname(address[start:]) for address in addresses}  # noqa: PTH120 - many files
    return addresses[0][:start] + os.path.commonpath(folders)


def part_address(address: str, first: int, count: int) -> str:
    """The address of a range of bytes of a file."""
    return f"{address}?bytes={first}+{count}"


def file_address(address: str) -> str:
    """The address of the file, without a byte range."""
    return _PART.sub("", address)


def byte_range(address: str) -> tuple[int, int] | None:
    """First byte and number of bytes of an address with a range; None for a whole file."""
    found = _PART.search(address)
    return (int(found[1]), int(found[2])) if found else None


def is_file(address: str) -> bool:
    """Whether the file exists; for a byte range, whether its file exists."""
    path = file_address(address)
    if is_remote(path):
        return (entry := _entry(path)) is not None and not entry.is_folder
    return os.path.isfile(path)  # noqa: PTH113 - many files: no Path object for each


def is_folder(address: str) -> bool:
    """Whether the folder exists."""
    if is_remote(address):
        return (entry := _entry(address)) is not None and entry.is_folder
    return os.path.isdir(address)  # noqa: PTH112


def file_size(address: str) -> int | None:
    """Size of a file or byte range, in bytes; None if the file does not exist."""
    if (found := byte_range(address)) is not None:
        return found[1] if is_file(address) else None
    if not is_remote(address):
        try:
            return os.stat(address).st_size  # noqa: PTH116
        except OSError:
            return None
    entry = _entry(address)
    if entry is None or entry.bytes is not None:
        return entry and entry.bytes
    size = retry(address, lambda: _file_system(address).info(address).get("size"))
    return None if size is None else int(size)


def modified_ns(address: str) -> int:
    """Time of the last change, in nanoseconds; 0 if a remote store does not report it."""
    path = file_address(address)
    if is_remote(path):
        entry = _entry(path)
        return entry.modified_ns if entry else 0
    return os.stat(path).st_mtime_ns  # noqa: PTH116


def list_folder(folder: str) -> list[Entry]:
    """The files and folders in a folder, sorted by name, without hidden ones.

    Raises:
        InputError: It cannot be read.
    """
    try:
        found = list(_listing(folder).values()) if is_remote(folder) else _local_entries(folder)
    except OSError as error:
        reason = "there is no such folder" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
        raise InputError(folder, f"the folder cannot be read: {reason}", fix="check `root`") from error
    return sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)


def read_bytes(address: str) -> bytes:
    """The content of a file or byte range.

    Raises:
        OSError: It cannot be read, or ends before the part does.
    """
    path, found = file_address(address), byte_range(address)
    first, count = found or (0, -1)
    if is_remote(path):
        stop = first + count if found else None
        content = retry(
            path, lambda: bytes(_file_system(path).cat_file(path, start=first if found else None, end=stop))
        )
    else:
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(first)
            content = file.read(count)
    if found and len(content) != count:
        raise OSError(f"it ends {count - len(content)} bytes before the part does: another version of the file?")
    return content


def retry(address: str, ask: Callable[[], Result]) -> Result:
    """Call a function that reads from a remote store; try again if it fails.

    Raises:
        OSError: It has no such file, or fails every time.
    """
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except FileNotFoundError:
            raise
        except Exception as error:  # each store has errors of its own, of no common kind
            if attempt == ATTEMPTS - 1:
                said = " ".join(str(error).split())[:160] or type(error).__name__
                raise OSError(f"{_protocol(address)} does not give it: {said}") from error
            time.sleep(_WAIT_SECONDS * 4**attempt)
    raise AssertionError("the last attempt returns or raises")


def _protocol(address: str) -> str:
    return address.partition("://")[0]


def _file_system(address: str, field: str = "data.dataset.root") -> Any:
    from fsspec.core import url_to_fs

    protocol = _protocol(address)
    try:
        return url_to_fs(address)[0]
    except ImportError as error:
        package = _PACKAGES.get(protocol, "")
        raise InputError(
            field,
            f"{address}: {' '.join(str(error).split())}",
            fix=f"pip install {package}, on every machine" if package else "install what it names, on every machine",
        ) from error
    except ValueError as error:
        raise InputError(
            field,
            f"{protocol!r} is not a protocol of fsspec, in {address}",
            allowed="a folder of this machine, s3://, gs://, az://, https:// and others of fsspec",
        ) from error


@lru_cache(maxsize=4096)
def _listing(folder: str) -> dict[str, Entry]:
    found = retry(folder, lambda: _file_system(folder).ls(folder, detail=True))
    listed = {}
    for info in found:
        name = str(info["name"]).rstrip("/").rpartition("/")[2]
        if _protocol(folder) in ("http", "https"):
            name = unquote(name)  # the listing is a page of links
        size = info.get("size")
        is_directory = info["type"] == "directory"
        listed[name] = Entry(name, is_directory, None if size is None else int(size), _modified_ns(info))
    return listed


def _modified_ns(info: dict[str, Any]) -> int:
    for key in ("LastModified", "updated", "mtime", "last_modified"):
        value = info.get(key)
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0


def _entry(address: str) -> Entry | None:
    folder, _, name = address.rstrip("/").rpartition("/")
    try:
        return _listing(folder).get(name)
    except FileNotFoundError:
        return None


def _local_entries(folder: str) -> list[Entry]:
    with os.scandir(folder) as found:
        return [Entry(entry.name, is_folder_entry(entry)) for entry in found]


def is_folder_entry(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a local folder is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False

"""Uploads into files: at most `SPOOL_BYTES` of a file are in memory, and a request that is too large is not read on.

A form (`multipart/form-data`) is parsed by Starlette; any other body is one file.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from side4video.core.text import printable

SPOOL_BYTES = 64 * 2**10
"""Bytes of a form's file that are kept in memory; the rest goes to a temporary file of the system."""
FIELD_BYTES = 16 * 2**10
"""Limit of a field that is no file."""
FORM_BYTES = 2**20
"""By how much a form may be longer than its files."""
MAX_FIELDS = 16


@dataclass(frozen=True)
class UploadLimits:
    """What one upload may take. Times are those in which the server waits for the client."""

    max_bytes: int = 256 * 2**20
    """Of all its files."""
    seconds: float = 300.0
    """For the whole upload."""
    idle_seconds: float = 30.0
    """Without a byte."""
    grace_seconds: float = 30.0
    """After them `least_rate` holds."""
    least_rate: float = 16 * 2**10
    """Bytes a second on average: otherwise a few slow clients would take all places for as long as they like."""

    def patience(self, length: int) -> float:
        """Seconds that an upload may have taken, of which so many bytes are here."""
        return min(self.seconds, max(self.grace_seconds, length / self.least_rate))


class UploadRejected(Exception):
    """A request that is answered with an error, and whose connection is then closed: more may still be on its way."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


@dataclass
class Upload:
    """The content of a request."""

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Names that the client gave to the files; never part of a path on this machine."""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """What a form has beside files, in its order; a name may come twice."""


async def receive(request: Request, folder: Path, *, limits: UploadLimits, max_files: int) -> Upload:
    """Write the files of a request into a folder.

    The caller removes the files, also after an error.

    Raises:
        UploadRejected: The request is too large (413, at once if its length is declared), is not a valid form (400),
            has too many files (400) or is too slow (408), or the disk is full (507).
        starlette.requests.ClientDisconnect: The client has closed the connection.
    """
    is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"
    stream = _limited(request, limits, limits.max_bytes + (FORM_BYTES if is_form else 0))
    try:
        if is_form:
            return await _receive_form(request, stream, folder, max_bytes=limits.max_bytes, max_files=max_files)
        upload = Upload([folder / "0.video"], [_base_name(request.query_params.get("name", ""))])
        with upload.paths[0].open("xb") as file:
            async for chunk in stream:
                await asyncio.to_thread(file.write, chunk)
        return upload
    except MultiPartException as error:
        raise UploadRejected(400, f"the form cannot be read: {error.message}") from error
    except UnicodeError as error:
        raise UploadRejected(400, "the form cannot be read in its charset; allowed: utf-8") from error
    except OSError as error:
        raise UploadRejected(507, f"there is no room for it here ({error.strerror})") from error


async def _limited(request: Request, limits: UploadLimits, max_length: int) -> AsyncGenerator[bytes, None]:
    """The body in chunks, up to `max_length` bytes of it."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_length:
        raise _too_large(limits.max_bytes)
    stream, length, waited = request.stream(), 0, 0.0
    while True:
        begin, left = time.monotonic(), limits.patience(length) - waited
        try:
            async with asyncio.timeout(min(limits.idle_seconds, left)):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise _too_slow(limits, length, is_idle=limits.idle_seconds <= left) from None
        waited += time.monotonic() - begin
        if chunk is None:
            return
        length += len(chunk)
        if length > max_length:
            raise _too_large(limits.max_bytes)
        yield chunk


class _FormParser(MultiPartParser):
    spool_max_size = SPOOL_BYTES
    has_end = False

    def on_end(self) -> None:
        self.has_end = True


async def _receive_form(
    request: Request, stream: AsyncGenerator[bytes, None], folder: Path, *, max_bytes: int, max_files: int
) -> Upload:
    parser = _FormParser(request.headers, stream, max_files=max_files, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    form = await parser.parse()
    try:
        if not parser.has_end:
            raise MultiPartException("it has no end")
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if sum(file.size or 0 for file in files) > max_bytes:
            raise _too_large(max_bytes)
        upload = Upload(fields=[(name, value) for name, value in form.multi_items() if isinstance(value, str)])
        for number, file in enumerate(files):
            path = folder / f"{number}.video"
            await asyncio.to_thread(_copy, file, path)
            upload.paths.append(path)
            upload.names.append(_base_name(file.filename or ""))
        return upload
    finally:
        await form.close()


def _too_slow(limits: UploadLimits, length: int, *, is_idle: bool) -> UploadRejected:
    if is_idle:
        return UploadRejected(408, f"nothing came for {limits.idle_seconds:g} s")
    if limits.patience(length) >= limits.seconds:
        return UploadRejected(408, f"the upload took longer than {limits.seconds:g} s")
    least = f"the least is {limits.least_rate / 2**10:g} KiB a second, after {limits.grace_seconds:g} s"
    return UploadRejected(408, f"the upload is too slow: {length} bytes came; {least}")


def _too_large(max_bytes: int) -> UploadRejected:
    return UploadRejected(413, f"it is larger than the limit of {max_bytes / 2**20:g} MiB")


def _copy(upload: UploadFile, path: Path) -> None:
    with upload.file as source, path.open("xb") as target:
        shutil.copyfileobj(source, target)


def _base_name(name: str) -> str:
    return printable(PurePosixPath(name.replace("\\", "/")).name[:200]) or "video"

"""Uploads on their way to disk: never more of one in memory than a piece, never more of it on disk than allowed.

A form (`multipart/form-data`) is taken apart while it comes in; any other body is one file.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from starlette.requests import Request

FIELD_BYTES = 16 * 2**10
"""Of a field that is no file, and of the headers of a part."""
FORM_BYTES = 2**20
"""What a form may be longer than its files."""
MOST_FIELDS = 16
IDLE_SECONDS = 30.0
"""Whoever sends nothing for so long has gone."""


class Refused(Exception):
    """A request that is answered without a look at its videos."""

    def __init__(self, status: int, reason: str) -> None:
        """Say with which status, and why."""
        self.status, self.reason = status, reason
        self.comes_on = False
        """Whether more of the request is on its way, and nobody will read it."""
        super().__init__(reason)


@dataclass
class Upload:
    """What came in."""

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """What the sender calls the files; never part of a path here."""
    fields: dict[str, str] = field(default_factory=dict)


async def receive(request: Request, folder: Path, *, most_bytes: int, most_files: int) -> Upload:
    """Write a request's files into a folder.

    Args:
        request: A form with files, or a body that is a file.
        folder: Where to; the files are the caller's to remove, whatever happens.
        most_bytes: Of all files together.
        most_files: How many.

    Raises:
        Refused: It is too large (413, at once where its length is said), no form (400), has too many files (400), comes
            too slowly (408), or the disk is full (507).
        starlette.requests.ClientDisconnect: The sender has gone.
    """
    try:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most_bytes + FORM_BYTES:
            raise _too_large(most_bytes)
        return await _receive(request, folder, most_bytes, most_files)
    except Refused as refused:
        refused.comes_on = True
        raise


async def _receive(request: Request, folder: Path, most_bytes: int, most_files: int) -> Upload:
    kind = request.headers.get("content-type", "")
    sink = _Form(folder, kind, most_bytes, most_files) if _is_form(kind) else _Body(folder, request, most_bytes)
    try:
        async for piece in _pieces(request, most_bytes):
            await asyncio.to_thread(sink.write, piece)
        return await asyncio.to_thread(sink.finish)
    except OSError as error:
        raise Refused(507, f"there is no room for it here ({error.strerror})") from error
    finally:
        sink.close()


async def _pieces(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    stream, read = request.stream().__aiter__(), 0
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await anext(stream, None)
        except TimeoutError:
            raise Refused(408, f"nothing came for {IDLE_SECONDS:g} s") from None
        if piece is None:
            return
        read += len(piece)
        if read > most_bytes + FORM_BYTES:
            raise _too_large(most_bytes)
        yield piece


def _is_form(kind: str) -> bool:
    return kind.partition(";")[0].strip().lower() == "multipart/form-data"


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, f"it is larger than {most_bytes / 2**20:g} MiB, the most that is taken here")


class _Files:
    """Files of an upload, and the room that is left for them."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.upload, self._folder, self._most = Upload(), folder, most_bytes
        self._written, self._file = 0, None
        self._file: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        path = self._folder / f"{len(self.upload.paths)}.video"
        self._file = path.open("xb")
        self.upload.paths.append(path)
        self.upload.names.append(os.path.basename(name.replace("\\", "/"))[:200] or "video")  # noqa: PTH119 - text

    def write(self, piece: bytes) -> None:
        self._written += len(piece)
        if self._written > self._most:
            raise _too_large(self._most)
        if self._file is not None:
            self._file.write(piece)

    def end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Body:
    """A body that is one file."""

    def __init__(self, folder: Path, request: Request, most_bytes: int) -> None:
        self._files = _Files(folder, most_bytes)
        self._files.begin(request.query_params.get("name", "video"))

    def write(self, piece: bytes) -> None:
        self._files.write(piece)

    def finish(self) -> Upload:
        self._files.end()
        return self._files.upload

    def close(self) -> None:
        self._files.end()


class _Form:
    """A form with files and short fields."""

    def __init__(self, folder: Path, kind: str, most_bytes: int, most_files: int) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        boundary = parse_options_header(kind)[1].get(b"boundary")
        if not boundary:
            raise Refused(400, "the form has no boundary")
        self._files, self._most_files = _Files(folder, most_bytes), most_files
        self._parse_header = parse_options_header
        self._header, self._headers = (bytearray(), bytearray()), dict[bytes, bytes]()
        self._field, self._value, self._is_over = "", bytearray(), False
        callbacks: Any = {
            "on_part_begin": self._begin_part,
            "on_part_data": self._part_data,
            "on_part_end": self._end_part,
            "on_header_field": lambda data, start, end: self._extend(self._header[0], data[start:end]),
            "on_header_value": lambda data, start, end: self._extend(self._header[1], data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def write(self, piece: bytes) -> None:
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise Refused(400, f"the form cannot be read: {error}") from error

    def finish(self) -> Upload:
        if not self._is_over:
            raise Refused(400, "the form has no end")
        return self._files.upload

    def close(self) -> None:
        self._files.end()

    def _end(self) -> None:
        self._is_over = True

    def _extend(self, held: bytearray, data: bytes) -> None:
        held += data
        if len(held) > FIELD_BYTES:
            raise Refused(400, f"a field of the form is longer than {FIELD_BYTES} bytes")

    def _begin_part(self) -> None:
        self._headers, self._field, self._value = {}, "", bytearray()

    def _end_header(self) -> None:
        name, value = self._header
        if len(self._headers) >= MOST_FIELDS:
            raise Refused(400, "a part of the form has too many headers")
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        _, options = self._parse_header(self._headers.get(b"content-disposition", b""))
        if b"filename" in options:
            if len(self._files.upload.paths) >= self._most_files:
                raise Refused(400, f"more files than the {self._most_files} that are taken at a time")
            self._files.begin(options[b"filename"].decode("utf-8", errors="replace"))
        else:
            self._field = options.get(b"name", b"").decode("utf-8", errors="replace")
            if len(self._files.upload.fields) >= MOST_FIELDS:
                raise Refused(400, "the form has too many fields")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field:
            self._extend(self._value, data[start:end])
        else:
            self._files.write(data[start:end])

    def _end_part(self) -> None:
        if self._field:
            self._files.upload.fields[self._field] = self._value.decode("utf-8", errors="replace")
        self._files.end()

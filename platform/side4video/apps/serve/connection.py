"""A connection of the server: what a client may send before and beside a body, and how long it may take.

uvicorn's default parser, httptools, reads headers without a limit. h11, its other one, has one limit for all that is
incomplete; here each part has its own, and each refusal is a line of JSON.
"""

import asyncio
import json
import logging
import sys
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

HEAD_SECONDS = 20.0
"""From the connection, or the last answer, to the end of a request's headers."""
WRITE_SECONDS = 30.0
"""A client that does not read an answer is given up."""
MAX_LINE_BYTES = 8 * 2**10
"""Of a request line."""
MAX_HEAD_BYTES = 64 * 2**10
"""Of a request line and the headers; also of what follows a chunked body, and of the line before a chunk."""
MAX_FRAMING_BYTES = 2**20
"""By how much the pieces of a chunked body may be longer than twice their content."""
GRACE_SECONDS = 5
"""For requests that are being answered when the server is stopped."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may do."""

    head_seconds: float = HEAD_SECONDS
    write_seconds: float = WRITE_SECONDS


def http_config(application: Any, limits: ConnectionLimits | None = None) -> uvicorn.Config:
    """The configuration of uvicorn for an ASGI application behind these limits."""

    class Protocol(LimitedProtocol):
        pass

    Protocol.limits = limits or ConnectionLimits()
    logging.getLogger("uvicorn.error").addFilter(is_a_fault)
    return uvicorn.Config(
        application,
        http=Protocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="off",
        ws="none",
    )


def is_a_fault(record: logging.LogRecord) -> bool:
    """Whether a log record is of a fault: uvicorn prints a traceback for each upload that a shutdown cuts off, too."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or not _is_shutdown(error)


def _is_shutdown(error: BaseException) -> bool:
    causes = [error]
    while (behind := causes[-1].__cause__ or causes[-1].__context__) is not None and behind not in causes:
        causes.append(behind)
    return any(not isinstance(each, Exception) for each in causes)


class LimitedConnection(h11.Connection):
    """h11's parser, which also limits the request line, complete headers, and the framing of a chunked body."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._framing = 0
        """Bytes that came for the body, less twice its content."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next request is here."""
        return bool(self.trailing_data[0])

    def receive_data(self, data: bytes) -> None:
        """Count what comes."""
        self._framing += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:
        """h11's, after the limits.

        Raises:
            h11.RemoteProtocolError: With the status of the answer.
        """
        if self.their_state is h11.IDLE:
            self._check_head()
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check_request(event)
            self._framing = len(self.trailing_data[0])
        elif isinstance(event, h11.Data):
            self._framing -= 2 * len(event.data)
            if self._framing > MAX_FRAMING_BYTES:
                raise h11.RemoteProtocolError("the pieces of the body are too small", error_status_hint=400)
        return event

    def _check_head(self) -> None:
        """h11 checks only heads that are incomplete; one that came at once may be longer."""
        data, _ = self.trailing_data
        if len(data) <= MAX_LINE_BYTES:
            return
        line = data.find(b"\n")
        if line == -1 or line > MAX_LINE_BYTES:
            raise h11.RemoteProtocolError(f"the request line is longer than {MAX_LINE_BYTES} bytes", 414)
        ends = [end for end in (data.find(b"\n\r\n"), data.find(b"\n\n")) if end != -1]
        if min(ends, default=len(data)) > MAX_HEAD_BYTES:
            raise h11.RemoteProtocolError(f"the headers are longer than {MAX_HEAD_BYTES} bytes", 431)


class LimitedProtocol(H11Protocol):
    """uvicorn's connection with time limits, and with answers in JSON to what is no request."""

    limits = ConnectionLimits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As uvicorn calls it."""
        super().__init__(*arguments, **options)
        self.conn = LimitedConnection()
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timers."""
        _cancel(self._head_timer, self._write_timer)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Read on; the application's own limits begin with the end of the headers."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            _cancel(self._head_timer)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of one that was answered early."""
        self._wait_for_head()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; uvicorn calls it in the handler of h11's error, which knows the status."""
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self.refuse(hint if hint < 500 else 400, str(error or msg))

    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error, if nothing was answered yet, and close."""
        _cancel(self._head_timer)
        if not self.transport.is_closing() and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": reason[:300]}).encode()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            parts = (
                h11.Response(status_code=status, headers=list(headers.items()), reason=STATUS_PHRASES[status]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application must not answer a second time
            self.cycle.message_event.set()
        self.transport.close()

    def pause_writing(self) -> None:
        """Wait for a client to read."""
        super().pause_writing()
        _cancel(self._write_timer)
        self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        _cancel(self._write_timer)
        super().resume_writing()

    def _wait_for_head(self) -> None:
        _cancel(self._head_timer)
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _give_up(self) -> None:
        if self.conn.has_begun and self.conn.their_state is h11.IDLE:
            self.refuse(408, f"the headers did not come within {self.limits.head_seconds:g} s")
        else:
            self.transport.close()


def _check_request(request: h11.Request) -> None:
    """Refuse what servers understand in different ways."""
    names = {name for name, _ in request.headers}
    if names >= {b"content-length", b"transfer-encoding"}:
        raise h11.RemoteProtocolError("there are both Content-Length and Transfer-Encoding")
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError(f"HTTP {request.http_version.decode()} is not spoken here; allowed: 1.0, 1.1")
    if not request.target.startswith(b"/"):
        raise h11.RemoteProtocolError("the target of a request must be a path, such as /health")


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()

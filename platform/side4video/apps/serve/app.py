"""The HTTP interface of a served model: a page, uploads in, JSON out.

It writes uploads to files and passes their paths to the replicas. Ray Serve's own proxy would keep each body in memory,
without a limit, until a replica reads it.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from side4video.apps.serve.allowed_hosts import AllowedHosts
from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.apps.serve.upload import FORM_BYTES, Upload, UploadLimits, UploadRejected, receive
from side4video.core.text import printable
from side4video.data.decode.video_source import BrokenClip, open_source
from side4video.inference.prediction import MOST

RETRY_SECONDS = 5
"""`Retry-After` of a refused request."""
MAX_VIDEOS = 32
"""Of one search."""
FIELDS = ("name", "text", "top_k", "threshold")
"""What a request may say beside its files, in its address or its form."""
CLOSE = {"Connection": "close"}
"""Otherwise the server would read the rest of a refused request."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class QueueFull(Exception):
    """All replicas are busy and their queue is full."""


@dataclass(frozen=True)
class ServeConfig:
    """What is served, and its limits."""

    kind: Literal["labels", "search"]
    page: str
    """HTML."""
    about: dict[str, Any]
    """Further keys of `/health`."""
    folder: Path
    """Of uploads until they are answered."""
    max_uploads: int
    """Requests that are received or wait at a time."""
    top: int
    """Default of `top_k`."""
    answer_seconds: float
    """Limit of the time for an answer."""
    uploads: UploadLimits = field(default_factory=UploadLimits)
    allowed: AllowedHosts = field(default_factory=AllowedHosts)


class App:
    """The routes of a server."""

    def __init__(
        self,
        config: ServeConfig,
        predict: Callable[[PredictRequest], Awaitable[PredictResponse]],
        is_healthy: Callable[[], Awaitable[bool]],
    ) -> None:
        """Store what is served.

        `predict` answers a request, or raises `QueueFull`; `is_healthy` says whether a replica can answer.
        """
        self.config, self._predict, self._is_healthy = config, predict, is_healthy
        self.uploads = 0
        """Requests that are received or wait now."""
        self.predict_path = "/predict" if config.kind == "labels" else "/search"

    def application(self) -> ASGIApp:
        """The ASGI application."""
        routes = Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/health", self.health, methods=["GET"]),
                Route(self.predict_path, self.receive, methods=["POST"]),
            ],
            exception_handlers={404: self.not_found, 405: self.not_found, 500: self.failed},
        )

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            refused = self._refused(scope)
            await (routes if refused is None else refused)(scope, receive, send)

        return answer

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to a request under another name, or of another site's page."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        local = scope["server"][0] if scope.get("server") else ""
        found = self.config.allowed.refusal(headers, method=scope["method"], local_address=local)
        return None if found is None else _json({"error": found.reason}, found.status, **CLOSE)

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        """`GET /`: the upload page."""
        return HTMLResponse(self.config.page, headers={**HEADERS, "Content-Security-Policy": POLICY})

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """`GET /health`: 200 if an upload would be taken and a replica can answer it, else 503."""
        most = self.config.max_uploads
        is_busy, is_healthy = self.uploads >= most, await self._is_healthy()
        status = "unavailable" if not is_healthy else "busy" if is_busy else "ok"
        document = {"status": status, "uploads": self.uploads, "max_uploads": most, **self.config.about}
        retry = {"Retry-After": str(RETRY_SECONDS)} if status == "busy" else {}
        return _json(document, 200 if status == "ok" else 503, **retry)

    async def receive(self, request: Request) -> Response:
        """`POST /predict` or `/search`: an upload and its answer."""
        if self.uploads >= self.config.max_uploads:
            length = request.headers.get("content-length", "")
            return _busy(**({} if length.isdigit() and int(length) <= FORM_BYTES else CLOSE))
        self.uploads += 1
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self.config.folder))
        try:
            return await self._answer(request, folder)
        except UploadRejected as refused:
            return _json({"error": refused.reason}, refused.status, **CLOSE)
        except QueueFull:
            return _busy()
        except TimeoutError:
            return _json({"error": f"no answer within {self.config.answer_seconds:g} s"}, 504)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self.uploads -= 1
            await asyncio.shield(asyncio.to_thread(self.remove, folder))

    def remove(self, folder: Path) -> None:
        """Remove the files of a request."""
        shutil.rmtree(folder, ignore_errors=True)

    async def _answer(self, request: Request, folder: Path) -> Response:
        upload = await receive(
            request,
            folder,
            limits=self.config.uploads,
            max_files=1 if self.config.kind == "labels" else MAX_VIDEOS,
        )
        parsed = self._parse(request, upload)
        for path in parsed.paths:
            await asyncio.to_thread(_check_file_type, path, is_only=len(parsed.paths) == 1)
        async with asyncio.timeout(self.config.answer_seconds):
            answer = await self._predict(parsed)
        return _json(answer.document, answer.status)

    def _parse(self, request: Request, upload: Upload) -> PredictRequest:
        given = [*request.query_params.multi_items(), *upload.fields]
        fields = dict(given)
        twice = [name for name in FIELDS if sum(each == name for each, _ in given) > 1]
        if twice:
            raise UploadRejected(400, f"{twice[0]} is given more than once")
        threshold = _parse_threshold(fields.get("threshold", ""))
        top = fields.get("top_k", str(self.config.top if threshold is None else MOST))
        # Zeros may stand before it; int() refuses what has thousands of digits.
        if not re.fullmatch("0*[0-9]{1,4}", top, re.ASCII) or not 1 <= int(top[-4:]) <= 1000:
            raise UploadRejected(400, f"top_k is {top[:40]!r}; allowed: 1 to 1000")
        if not upload.paths:
            raise UploadRejected(400, "there is no file in it; send a video as the body, or as a form's field `video`")
        text = fields.get("text", "").strip()
        if self.config.kind == "search" and not text:
            raise UploadRejected(400, "there is no text; give the text to search for in the field `text`")
        if any("\ud800" <= each <= "\udfff" for each in text):
            raise UploadRejected(400, "the text is not valid Unicode")
        return PredictRequest(tuple(map(str, upload.paths)), tuple(upload.names), int(top), text, threshold)

    async def not_found(self, request: Request, error: Exception) -> Response:
        """The answer to any other path or method: 404 or 405, with what is allowed."""
        status = getattr(error, "status_code", 404)
        allowed = f"GET /, GET /health, POST {self.predict_path}"
        found = f"{request.method[:40]} {request.scope['path'][:200]}"
        return _json({"error": f"there is no {printable(found)}; allowed: {allowed}"}, status)

    async def failed(self, request: Request, error: Exception) -> Response:  # noqa: ARG002 - Starlette's signature
        """The answer to a request that met a fault of ours; the server prints its traceback."""
        return _json({"error": "the server failed; its own output says why"}, 500, **CLOSE)


def _parse_threshold(text: str) -> float | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{0,9}[.]?[0-9]{0,30}", text, re.ASCII) or text == "." or float(text) > 1:
        raise UploadRejected(400, f"threshold is {text[:40]!r}; allowed: 0 to 1")
    return float(text)


def _check_file_type(path: str, *, is_only: bool) -> None:
    """Refuse a single file that is no video by its first bytes; of several, the answer names those that are not."""
    try:
        open_source(path, "")
    except BrokenClip as error:
        if is_only:
            raise UploadRejected(415, error.reason) from error


def _json(document: Any, status: int = 200, **headers: str) -> Response:
    return JSONResponse(document, status, headers={**HEADERS, **headers})


def _busy(**headers: str) -> Response:
    reason = {"error": f"too many requests at a time; try again in {RETRY_SECONDS} s"}
    return _json(reason, 503, **{"Retry-After": str(RETRY_SECONDS)}, **headers)

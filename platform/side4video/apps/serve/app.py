"""What the world sees of a served model: a page, uploads in, JSON out.

It takes uploads itself and hands paths on. Ray Serve's own proxy would hold each body in memory, without a limit, until
a replica reads it.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.apps.serve.upload import FORM_BYTES, Refused, Upload, receive
from side4video.data.decode.video_source import BrokenClip, open_source

RETRY_SECONDS = 5
"""When somebody who was sent away may come again."""
MAX_VIDEOS = 32
"""Of one search."""
CLOSE = {"Connection": "close"}
"""What is still on its way is not taken in to be thrown away."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class QueueFull(Exception):
    """Nobody can answer now, but somebody may soon."""


@dataclass(frozen=True)
class ServeConfig:
    """What is served, and how much of it at a time."""

    kind: Literal["labels", "search"]
    page: str
    """HTML."""
    about: dict[str, Any]
    """What `/health` says beside its state."""
    folder: Path
    """Where uploads wait."""
    max_bytes: int
    """Of one upload."""
    max_uploads: int
    """That come in or wait at a time."""
    top: int
    """Answers, where nobody says how many."""
    answer_seconds: float
    """The longest that an answer may take."""


class App:
    """The pages and paths of a server."""

    def __init__(
        self,
        house: ServeConfig,
        ask: Callable[[PredictRequest], Awaitable[PredictResponse]],
        is_well: Callable[[], Awaitable[bool]],
    ) -> None:
        """Nothing is asked yet.

        Args:
            house: What is served.
            ask: Answers a question, or raises `QueueFull`.
            is_well: Whether somebody can answer.
        """
        self.house, self._ask, self._is_well = house, ask, is_well
        self._uploads = 0

    def application(self) -> Starlette:
        """What an ASGI server runs."""
        path = "/predict" if self.house.kind == "labels" else "/search"
        return Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/health", self.health, methods=["GET"]),
                Route(path, self.take, methods=["POST"]),
            ],
            exception_handlers={404: self._no_such_page, 405: self._no_such_page},
        )

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        """`GET /`: where people upload."""
        return HTMLResponse(self.house.page, headers={**HEADERS, "Content-Security-Policy": POLICY})

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """`GET /health`: 200 if somebody can answer, else 503."""
        well = await self._is_well()
        state = "ok" if well else "unavailable"
        return _json({"status": state, "uploads": self._uploads, **self.house.about}, 200 if well else 503)

    async def take(self, request: Request) -> Response:
        """`POST /predict` or `/search`: an upload, and the answer to it."""
        if self._uploads >= self.house.max_uploads:
            length = request.headers.get("content-length", "")
            return _busy(**({} if length.isdigit() and int(length) <= FORM_BYTES else CLOSE))
        self._uploads += 1
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self.house.folder))
        try:
            return await self._answer(request, folder)
        except Refused as refused:
            return _json({"error": refused.reason}, refused.status, **(CLOSE if refused.comes_on else {}))
        except QueueFull:
            return _busy()
        except TimeoutError:
            return _json({"error": f"no answer within {self.house.answer_seconds:g} s"}, 504)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self._uploads -= 1
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    async def _answer(self, request: Request, folder: Path) -> Response:
        max_files = 1 if self.house.kind == "labels" else MAX_VIDEOS
        upload = await receive(request, folder, max_bytes=self.house.max_bytes, max_files=max_files)
        question = self._question(request, upload)
        for path in question.paths:
            await asyncio.to_thread(_look, path, is_only=len(question.paths) == 1)
        async with asyncio.timeout(self.house.answer_seconds):
            answer = await self._ask(question)
        return _json(answer.document, answer.status)

    def _question(self, request: Request, upload: Upload) -> PredictRequest:
        said = {**request.query_params, **upload.fields}
        top = said.get("top_k", str(self.house.top))
        if not top.isascii() or not top.isdigit() or not 1 <= int(top[:9]) <= 1000:
            raise Refused(400, f"top_k is {top[:40]!r}; allowed: 1 to 1000")
        if not upload.paths:
            raise Refused(400, "there is no file in it; send a video as the body, or as a form's field `video`")
        text = said.get("text", "").strip()
        if self.house.kind == "search" and not text:
            raise Refused(400, "there is no text; say in the field `text` what is to be seen")
        return PredictRequest(tuple(map(str, upload.paths)), tuple(upload.names), int(top), text)

    async def _no_such_page(self, request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        path = "/predict" if self.house.kind == "labels" else "/search"
        allowed = f"GET /, GET /health, POST {path}"
        return _json({"error": f"there is no {request.method} {request.url.path}; allowed: {allowed}"}, status)


def _look(path: str, *, is_only: bool) -> None:
    """Send away what is no video by its first bytes, before anybody waits for it."""
    try:
        open_source(path, "")
    except BrokenClip as error:
        if is_only:
            raise Refused(415, error.reason) from error


def _json(document: Any, status: int = 200, **headers: str) -> Response:
    return JSONResponse(document, status, headers={**HEADERS, **headers})


def _busy(**headers: str) -> Response:
    reason = {"error": f"too many requests at a time; come again in {RETRY_SECONDS} s"}
    return _json(reason, 503, **{"Retry-After": str(RETRY_SECONDS)}, **headers)

"""The app of `side4video serve` behind its real server, on a free port and without a model."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from types import MappingProxyType

import uvicorn

from side4video.apps.serve.app import App, ServeConfig
from side4video.apps.serve.connection import http_config
from side4video.apps.serve.protocol import PredictResponse
from side4video.apps.serve.upload import UploadLimits

NONE = MappingProxyType({})
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(3000)


@contextmanager
def served(tmp_path, predict=None, *, kind="labels", healthy=True, app=App, limits=NONE, connection=None, **changes):
    """An app on a free port, and the requests it passed on."""
    asked = []

    async def answer(question):
        asked.append((question, [open(path, "rb").read() for path in question.paths]))  # noqa: PTH123, SIM115
        return (await predict(question)) if predict else PredictResponse({"labels": [["a", 1.0]]})

    async def is_healthy():
        return healthy

    (tmp_path / "uploads").mkdir(exist_ok=True)
    uploads = UploadLimits(**{"max_bytes": 2**20, **limits})
    options = {"page": "<p>page", "uploads": uploads, "max_uploads": 4, "top": 5, "answer_seconds": 5.0, **changes}
    config = ServeConfig(kind=kind, about={"model": "m"}, folder=tmp_path / "uploads", **options)
    server_app = app(config, answer, is_healthy)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(http_config(server_app.application(), connection))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], asked, server_app
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def post(port, body=VIDEO, path="/predict", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, headers or {})
    return read(connection)


def read(connection):
    answer = connection.getresponse()
    document = json.loads(answer.read() or b"null")
    connection.close()
    return answer, document


def form(*parts, boundary="xyz", end=True):
    """A multipart body of (name, file name or None, content), and its header."""
    body = b""
    for name, file, content in parts:
        called = f'; filename="{file}"' if file is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + (f"--{boundary}--\r\n".encode() if end else b""), {
        "Content-Type": f"multipart/form-data; boundary={boundary}"
    }


def left(tmp_path):
    """What still lies there, when whoever cleans up had time."""
    for _ in range(100):
        found = list((tmp_path / "uploads").iterdir())
        if not found:
            return []
        time.sleep(0.02)
    return found

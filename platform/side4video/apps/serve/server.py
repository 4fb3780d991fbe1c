"""The server: Ray Serve's replicas run the model, an ASGI app in this process receives uploads.

Importing this module imports no Ray. Ray is started for this server alone, on loopback, and ends with it.
"""

import asyncio
import functools
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from side4video.apps.serve.protocol import Predictor, PredictRequest, PredictResponse
from side4video.core.errors import InputError, Side4VideoError
from side4video.core.temporary import temporary_folder
from side4video.distributed.cluster import RAY_SETTINGS, LogStream
from side4video.distributed.compat import session_folder, start_on_localhost

log = logging.getLogger(__name__)
APPLICATION = "side4video"
MAX_UPLOADS = 64
"""Minimum of the limit of uploads that are received or wait at a time; a larger queue raises it."""
GRACE_SECONDS = 5
"""For requests that replicas answer when the server is stopped."""
MAX_FOLDER_LENGTH = 40
"""Characters of a folder in which Ray can create its sockets, whose paths are limited to 107."""
LOOPBACK = "127.0.0.1"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that stop a server."""


@dataclass(frozen=True)
class Serving:
    """What is served, and how."""

    kind: Literal["labels", "search"]
    name: str
    """Of the model."""
    page: str
    build: Callable[[], Predictor]
    """Builds the model; pickled and called in each replica."""
    host: str = LOOPBACK
    port: int = 8000
    replicas: int = 1
    gpus: int = 0
    """Of this machine, shared by the replicas."""
    batch: int = 8
    """Requests that a replica answers in one forward."""
    queue: int = 32
    """Requests that may wait beside those that replicas have."""
    max_bytes: int = 256 * 2**20
    top: int = 5
    video_seconds: float = 60.0
    """Limit of the time to read a video."""
    upload_seconds: float = 300.0
    """Limit of the time for one upload."""
    allowed_hosts: tuple[str, ...] = ()
    """Names of the server, beside loopback and this machine's."""


def check_extra() -> None:
    """Import what serving needs.

    Raises:
        InputError: A package is not installed.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        from ray import serve  # noqa: F401
    except ImportError as error:
        raise InputError(
            "side4video serve", f"{error.name or error} is not installed", fix="pip install 'side4video[serve]'"
        ) from error


def run_server(serving: Serving, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    `on_ready` is called with the address as soon as requests are answered.

    Raises:
        InputError: The port is taken, or the model cannot be built.
        Side4VideoError: Ray Serve cannot start it.
        KeyboardInterrupt: It was stopped before it was ready.
    """
    check_extra()
    with _listening(serving) as listener, temporary_folder() as scratch, _ray(scratch, serving):
        handle = _deploy(serving)
        uploads = scratch / "uploads"
        uploads.mkdir()
        from side4video.apps.serve.app import App

        app = App(_config(serving, uploads), functools.partial(_predict, handle), _is_healthy)
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        _serve(app.application(), listener, lambda: on_ready(address))


@contextmanager
def _listening(serving: Serving) -> Iterator[socket.socket]:
    """The bound port, before the slow start; connections are refused until the model is loaded."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((serving.host, serving.port))
        except OSError as error:
            raise InputError(
                "--port", f"{serving.host}:{serving.port}: {error.strerror or error}", fix="name another one"
            ) from error
        yield listener


@contextmanager
def _ray(scratch: Path, serving: Serving) -> Iterator[None]:
    """Ray and Ray Serve on loopback, without a proxy and a dashboard; all of it ends with the block."""
    import ray
    from ray import serve

    # Paths of Ray's sockets must be short. If this folder's is not, Ray uses its own, which is removed at the end.
    folder = str(scratch) if len(str(scratch)) <= MAX_FOLDER_LENGTH else None
    session = ""
    before = {name: signal.getsignal(name) for name in SIGNALS}
    _interrupt_on_signals()
    try:
        start_on_localhost(cpus=serving.replicas + 1, gpus=serving.gpus, with_dashboard=False, temporary_folder=folder)
        for name in ("ray", "ray.serve"):  # their warnings about their own shutdown
            logging.getLogger(name).setLevel(logging.CRITICAL)
        session = session_folder()
        _interrupt_on_signals()
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})
        yield
    finally:
        # A second Ctrl-C must not leave processes behind.
        for name in SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        with redirect_stdout(LogStream()), redirect_stderr(LogStream()):  # Ray prints the tasks that end with it
            with suppress(Exception):
                serve.shutdown()
            ray.shutdown()
        if session and folder is None:
            shutil.rmtree(session, ignore_errors=True)
        for name, handler in before.items():
            signal.signal(name, handler)


def _interrupt_on_signals() -> None:
    """Raise `KeyboardInterrupt` also on SIGTERM and SIGHUP; Ray's core replaces the handler of SIGTERM."""
    for name in SIGNALS:
        signal.signal(name, signal.default_int_handler)


def _deploy(serving: Serving) -> Any:
    """Start the replicas; returns their handle when each has its model."""
    from ray import serve

    from side4video.apps.serve.replica import Replica

    deployment: Any = serve.deployment(
        Replica,
        name="model",
        num_replicas=serving.replicas,
        # One batch is computed while the next one is collected.
        max_ongoing_requests=2 * serving.batch,
        max_queued_requests=serving.queue,
        ray_actor_options={"num_cpus": 1, "num_gpus": min(1.0, serving.gpus / serving.replicas)},
        graceful_shutdown_timeout_s=GRACE_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
    )
    try:
        application = deployment.bind(serving.build, serving.batch)
        handle: Any = serve.run(application, name=APPLICATION, route_prefix=None)
        # All replicas are built in the same way, so that the error of one is the error of all.
        build_error = handle.state.remote().result()["build_error"]
    except RuntimeError as error:
        raise Side4VideoError(f"the model cannot be served: {str(error).strip().splitlines()[-1]}") from error
    if build_error is not None:
        raise build_error
    return handle


async def _predict(handle: Any, request: PredictRequest) -> PredictResponse:
    from ray.exceptions import RayActorError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    from side4video.apps.serve.app import QueueFull

    response = handle.answer.remote(request)
    try:
        return await response
    except (BackPressureError, DeploymentUnavailableError, RayActorError, TaskCancelledError) as error:
        raise QueueFull from error
    except asyncio.CancelledError:
        response.cancel()
        raise


async def _is_healthy() -> bool:
    from ray import serve

    try:
        status = await asyncio.to_thread(serve.status)
        return status.applications[APPLICATION].status == "RUNNING"
    except Exception:  # Ray raises various errors after its end
        return False


def _config(serving: Serving, uploads: Path) -> Any:
    from side4video.apps.serve.allowed_hosts import allowed_hosts
    from side4video.apps.serve.app import ServeConfig
    from side4video.apps.serve.upload import UploadLimits

    waiting = serving.queue + serving.replicas * 2 * serving.batch
    return ServeConfig(
        kind=serving.kind,
        page=serving.page,
        about={"model": serving.name, "replicas": serving.replicas},
        folder=uploads,
        uploads=UploadLimits(max_bytes=serving.max_bytes, seconds=serving.upload_seconds),
        allowed=allowed_hosts(serving.host, serving.allowed_hosts),
        max_uploads=max(MAX_UPLOADS, 2 * waiting),
        top=serving.top,
        # All requests that are answered before it may take their whole limit.
        answer_seconds=serving.video_seconds * (1 + waiting),
    )


def _serve(application: Any, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests until a signal stops the server; open requests get a few seconds."""
    import uvicorn

    from side4video.apps.serve.connection import http_config

    server = uvicorn.Server(http_config(application))

    async def serve() -> None:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready()
        await running

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())

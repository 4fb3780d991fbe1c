"""A model behind HTTP: Ray Serve's replicas compute, a front in this process takes uploads.

Importing this imports neither Ray nor its extra. Ray is started for this server alone, on loopback, and ends with it.
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
from side4video.distributed.compat import session_folder, start_on_loopback

log = logging.getLogger(__name__)

APPLICATION = "side4video"
MAX_UPLOADS = 64
"""That come in or wait at a time, beside those that a larger queue has room for."""
GRACE_SECONDS = 5
"""For answers that are on their way when the server is told to end."""
LONGEST_FOLDER = 40
"""Characters of a folder in which Ray can make its sockets, whose names may have 107."""
LOOPBACK = "127.0.0.1"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""By which a server is told to end."""


PRIVATE = {
    # Ray's servers, its workers' among them, then listen on loopback alone: it is how Ray runs on a Mac. Ray reads it
    # when it is imported.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True)
class Serving:
    """How a model is served."""

    kind: Literal["labels", "search"]
    name: str
    """Of the model, for people."""
    page: str
    build: Callable[[], Predictor]
    """Makes the model, in each replica; travels to it."""
    host: str = LOOPBACK
    port: int = 8000
    replicas: int = 1
    gpus: int = 0
    """Of this machine, shared by the replicas."""
    batch: int = 8
    """Questions that a replica answers at once."""
    queue: int = 32
    """Questions that wait, at most, beside those that replicas have."""
    max_bytes: int = 256 * 2**20
    top: int = 5
    video_seconds: float = 60.0
    """To read one video."""


def check_extra() -> None:
    """Look whether what serving needs is installed, and import it.

    Raises:
        InputError: It is not.
    """
    for name, value in {**RAY_SETTINGS, **PRIVATE}.items():
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


def run_server(serving: Serving, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        serving: What, where and how.
        told: Hears the address when it answers.

    Raises:
        InputError: The port is taken, or the model cannot be built.
        Side4VideoError: Ray Serve cannot start it.
        KeyboardInterrupt: It was told to end before it answered.
    """
    check_extra()
    with _listening(serving) as listener, temporary_folder() as scratch, _ray(scratch, serving):
        handle = _deploy(serving)
        uploads = scratch / "uploads"
        uploads.mkdir()
        from side4video.apps.serve.app import App

        front = App(_house(serving, uploads), functools.partial(_ask, handle), _is_well)
        address = f"http://{_for_url(serving.host)}:{listener.getsockname()[1]}"
        _serve(front.application(), listener, lambda: told(address))


@contextmanager
def _listening(serving: Serving) -> Iterator[socket.socket]:
    """The port, before anything slow is begun; connections are refused until the model is there."""
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

    # Names of Ray's sockets must be short; where this folder's is not, Ray's own place is taken, and cleared.
    folder = str(scratch) if len(str(scratch)) <= LONGEST_FOLDER else None
    session = ""
    before = {name: signal.getsignal(name) for name in SIGNALS}
    _hear_signals()
    try:
        start_on_loopback(cpus=serving.replicas + 1, gpus=serving.gpus, temporary_folder=folder)
        for name in ("ray", "ray.serve"):  # what they say of their own end is nobody's concern
            logging.getLogger(name).setLevel(logging.CRITICAL)
        session = session_folder()
        _hear_signals()
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})
        yield
    finally:
        # A second Ctrl-C must not leave processes.
        for name in SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        with redirect_stdout(LogStream()), redirect_stderr(LogStream()):  # Ray tells of tasks that end with it
            with suppress(Exception):
                serve.shutdown()
            ray.shutdown()
        if session and folder is None:
            shutil.rmtree(session, ignore_errors=True)
        for name, handler in before.items():
            signal.signal(name, handler)


def _hear_signals() -> None:
    """End as Ctrl-C does on SIGTERM and when the terminal closes; Ray's core takes SIGTERM for itself."""
    for name in SIGNALS:
        signal.signal(name, signal.default_int_handler)


def _deploy(serving: Serving) -> Any:
    """The replicas' handle, when each has its model."""
    from ray import serve

    from side4video.apps.serve.replica import Replica

    deployment: Any = serve.deployment(
        Replica,
        name="model",
        num_replicas=serving.replicas,
        # One batch is computed while the next one gathers.
        max_ongoing_requests=2 * serving.batch,
        max_queued_requests=serving.queue,
        ray_actor_options={"num_cpus": 1, "num_gpus": min(1.0, serving.gpus / serving.replicas)},
        graceful_shutdown_timeout_s=GRACE_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
    )
    try:
        application = deployment.bind(serving.build, serving.batch)
        handle: Any = serve.run(application, name=APPLICATION, route_prefix=None)
        # Each replica was built in the same way, so one speaks for all.
        mistake = handle.state.remote().result()["mistake"]
    except RuntimeError as error:
        raise Side4VideoError(f"the model cannot be served: {str(error).strip().splitlines()[-1]}") from error
    if mistake is not None:
        raise mistake
    return handle


async def _ask(handle: Any, question: PredictRequest) -> PredictResponse:
    from ray.exceptions import RayActorError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    from side4video.apps.serve.app import QueueFull

    response = handle.answer.remote(question)
    try:
        return await response
    except (BackPressureError, DeploymentUnavailableError, RayActorError, TaskCancelledError) as error:
        raise QueueFull from error
    except asyncio.CancelledError:
        response.cancel()
        raise


async def _is_well() -> bool:
    from ray import serve

    try:
        status = await asyncio.to_thread(serve.status)
        return status.applications[APPLICATION].status == "RUNNING"
    except Exception:  # whatever Ray says when it is no longer there
        return False


def _house(serving: Serving, uploads: Path) -> Any:
    from side4video.apps.serve.app import ServeConfig

    waiting = serving.queue + serving.replicas * 2 * serving.batch
    return ServeConfig(
        kind=serving.kind,
        page=serving.page,
        about={"model": serving.name, "replicas": serving.replicas},
        folder=uploads,
        max_bytes=serving.max_bytes,
        max_uploads=max(MAX_UPLOADS, 2 * waiting),
        top=serving.top,
        # All that wait before it may be slow.
        answer_seconds=serving.video_seconds * (1 + waiting),
    )


def _serve(application: Any, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until a signal comes; answers on their way get a few seconds."""
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready()
        await running

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


def _for_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""`mlflow server` over a store, as a child process.

By default it listens on loopback only: MLflow has no login, and everyone who reaches it can change and delete runs. A
server for several machines also stores artifacts, so that the machines need no common folder.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from side4video.core.errors import InputError
from side4video.core.network import is_localhost, names_here
from side4video.core.paths import home
from side4video.spec.tracking import is_postgresql
from side4video.tracking.mlflow import compat, connection, postgresql
from side4video.tracking.mlflow.connection import TrackingError
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.redaction import redact_text

START_SECONDS = 180.0
"""Time limit for the start; loaded machines have needed half a minute."""

STOP_SECONDS = 10.0
"""Time limit for the end, before it is killed."""

_SETTINGS = {
    # Jobs evaluate language models; they would start a second process of 240 MB.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
}


def _host_settings(port: int, names: Sequence[str]) -> dict[str, str]:
    """Environment variables that allow further host names; empty without names, which keeps MLflow's defaults.

    Each name is also allowed as an origin, because MLflow's pages send requests with their own address.
    """
    if not names:
        return {}
    hosts = [*compat.default_allowed_hosts(), *names, *(f"{name}:*" for name in names)]
    origins = [f"{scheme}://{name}{end}" for name in names for scheme, end in (("http", f":{port}"), ("https", ""))]
    return {"MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts), "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins)}


class TrackingServer:
    """`mlflow server` over a store's database, from `start` to `stop`; also a context manager."""

    def __init__(
        self,
        store: MLflowStore,
        *,
        host: str = "127.0.0.1",
        port: int = 5000,
        artifacts: str = "",
        allowed_hosts: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        """Nothing is started yet.

        Args:
            store: The store, which is a database, not a server.
            host: Address to listen on.
            port: Port to listen on.
            artifacts: Folder or URI for artifacts that the server stores for all machines; empty: artifacts are in a
                folder of this machine.
            allowed_hosts: Further host names that browsers and workers may use, beside this machine's names and
                addresses of private networks.
            workers: Number of server processes.
        """
        self.store, self.host, self.port = store, host, port
        self.stop_seconds = STOP_SECONDS
        self.artifacts, self.allowed_hosts, self.workers = artifacts, tuple(allowed_hosts), workers
        self.log_file = home() / "logs" / f"tracking-server-{port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address for a browser on this machine."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def process_id(self) -> int:
        """Id of the child process; 0 if there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            InputError: If the host is not this machine's, or the port is in use.
            TrackingError: If the server ends or does not answer in time; the message names its log.
        """
        self._check_port()
        if self.artifacts:
            self._check_no_local_artifacts()
        else:
            self.store.prepare()
        artifacts = self.artifacts or str(connection.artifact_folder(self.store.uri))
        # In the environment: all users can read command lines, and the URI may contain a password.
        database = postgresql.with_limits(self.store.uri) if is_postgresql(self.store.uri) else self.store.uri
        places = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_ARTIFACTS_DESTINATION": artifacts}
        places |= _host_settings(self.port, [*self.allowed_hosts, *([] if is_localhost(self.host) else names_here())])
        command = [sys.executable, "-m", "mlflow", "server", "--host", self.host, "--port", str(self.port)]
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log_file.open("wb") as output, _signals_deferred():
                self._process = process = subprocess.Popen(  # noqa: S603 our own interpreter
                    [*command, "--workers", str(self.workers)],
                    env={**os.environ, **_SETTINGS, **places},
                    cwd=home(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that Ctrl-C reaches it only through `stop`
                )
            self._wait_until_healthy(process)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Wait until the server ends.

        Raises:
            TrackingError: When it ends without `stop`.
        """
        if self._process:
            code = self._process.wait()
            raise TrackingError(f"tracking: the server ended by itself (exit code {code}); see {self.log_file}")

    def stop(self) -> None:
        """End the server and its child processes; does nothing if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            processes = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        except psutil.NoSuchProcess:
            processes = []
        for member in processes:
            _signal(member, "terminate")
        try:
            psutil.wait_procs(processes, timeout=self.stop_seconds)
        finally:  # also when a second Ctrl-C cuts the wait short
            for member in processes:
                _signal(member, "kill")
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check_no_local_artifacts(self) -> None:
        """Refuse experiments whose artifacts are in a local folder, which other machines cannot write."""
        for name, location in self.store.artifact_locations().items():
            if location.startswith(("/", "file:")):
                raise InputError(
                    "--database",
                    f"the experiment `{name}` of {redact_text(self.store.uri)} keeps its artifacts in {location}",
                    allowed="a database whose experiments were made through a server",
                    fix="choose another database; `side4video ui` shows this one",
                )

    def _check_port(self) -> None:
        try:
            processes, _, _, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        except socket.gaierror as error:
            raise InputError(
                "--host", f"`{self.host}` is not an address ({error.strerror})", fix="--host 127.0.0.1"
            ) from error
        with socket.socket(processes, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
            try:
                probe.bind(place)
            except PermissionError as error:
                allowed = "1024 to 65535 without special rights"
                raise InputError("--port", f"{self.port} may not be used here", allowed=allowed) from error
            except OSError as error:
                found = f"{self.host}:{self.port} cannot be used ({error.strerror})"
                raise InputError("--port", found, fix=f"--port {_free_port(processes, self.host)}") from error

    def _wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                reason = f"the server ended at once (exit code {process.returncode})"
                raise TrackingError(f"tracking: {reason}; see {self.log_file}: {_last_line(self.log_file)}")
            if _is_healthy(self.address):
                return
            time.sleep(0.2)
        raise TrackingError(f"tracking: the server did not answer in {START_SECONDS:.0f} s; see {self.log_file}")


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer signals to the end of the block, so that a child process started in it is not lost."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield
        return
    received: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)


def _is_healthy(address: str) -> bool:
    # Without a proxy: the address is this machine's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _free_port(processes: socket.AddressFamily, host: str) -> int:
    with socket.socket(processes, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return 5001
        return probe.getsockname()[1]


def _last_line(file: Path) -> str:
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it is empty"


def _signal(process: psutil.Process, action: str) -> None:
    try:
        process.terminate() if action == "terminate" else process.kill()
    except psutil.NoSuchProcess:
        return

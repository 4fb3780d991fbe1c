"""Connects to the MLflow store: its address, its client, its errors, and which of them are temporary.

Only explicit addresses and ids are used. MLflow's defaults depend on the working folder, which differs in every Ray
worker, and its active experiment is unsafe when several processes start at once.
"""

import functools
import hashlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from filelock import FileLock

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.paths import home
from side4video.spec.check_database_driver import check_database_driver
from side4video.spec.tracking import check_tracking_uri, is_postgresql, sqlite_path
from side4video.tracking.mlflow import compat, postgresql, sqlite_file
from side4video.tracking.redaction import redact_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
T = TypeVar("T")

PROBE_SECONDS = 2.0
"""Time limit for checking whether a server is back."""

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


_reached_databases: set[str] = set()
"""PostgreSQL databases that this process has opened."""


class TrackingError(Side4VideoError):
    """The tracking store refused a request, for example because of a bad name or an unknown run."""


class ServerUnavailableError(TrackingError):
    """The tracking store cannot be reached or is overloaded; the same request may succeed later."""

    has_waited = False
    """Whether the request was tried again for as long as a restart takes."""


def resolve_uri(uri: str) -> str:
    """The store's address: `uri`, else MLFLOW_TRACKING_URI, else SQLite in `SIDE4VIDEO_HOME`.

    Raises:
        InputError: If it is a relative path or a file store.
    """
    where = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not chosen:
        return sqlite_file.sqlite_uri(home() / "mlflow.db")
    try:
        return check_tracking_uri(chosen)
    except ValueError as error:
        raise InputError(where, redact_text(str(error))) from error


def artifact_folder(uri: str) -> Path:
    """The artifact folder of a store without a server: beside its SQLite file, else in `SIDE4VIDEO_HOME`."""
    database = sqlite_path(uri)
    return (Path(database).parent if database else home()) / "artifacts"


def is_server(uri: str) -> bool:
    """Whether the address is of a tracking server, not of a database."""
    return urlsplit(uri).scheme in {"http", "https"}


def was_reached(uri: str) -> bool:
    """Whether this process has opened this PostgreSQL database before."""
    return uri in _reached_databases


def store_id(uri: str) -> str:
    """A short hash of a store's address, which may contain a password.

    That of a PostgreSQL database stays the same when its password changes.
    """
    address = postgresql.identity(uri) if is_postgresql(uri) else uri
    return hashlib.sha256(address.encode()).hexdigest()[:16]


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """A lock between processes for creating a store, and for looking up and creating a run.

    Without it, processes that open a new SQLite store at once break each other's migrations.

    Raises:
        InputError: The folder of the lock cannot be written.
    """
    database = sqlite_path(uri)
    file = Path(f"{database}.lock") if database else home() / "locks" / f"{store_id(uri)}.lock"
    lock = FileLock(file, is_singleton=True)  # reentrant in a thread
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise InputError(
            "tracking.uri",
            f"{file.parent} cannot be written ({getattr(error, 'strerror', '') or error})",
            fix="use a folder that can be written: SIDE4VIDEO_HOME=/some/folder",
        ) from error
    try:
        yield
    finally:
        lock.release()


def connect(uri: str) -> "MlflowClient":
    """A client of the store; for a database, its tables are created.

    A whole SQLite file is opened without a lock, so that it can be read where nothing can be written.

    Raises:
        InputError: If a database cannot be opened, or is of another version of MLflow. A server is not contacted yet.
        ServerUnavailableError: If a PostgreSQL database cannot be reached.
    """
    configure_mlflow()
    from mlflow import MlflowClient

    if is_server(uri):
        return MlflowClient(tracking_uri=uri)
    if database := sqlite_path(uri):
        _prepare_file(Path(database), uri)
        return _open_database(uri)
    if is_postgresql(uri):
        return _open_postgresql(uri)
    with store_lock(uri):  # making the client makes the tables
        return _open_database(uri)


def _open_postgresql(uri: str) -> "MlflowClient":
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    check_database_driver(uri, where="tracking.uri")
    postgresql.set_defaults()
    try:
        postgresql.prepare_database(uri, quoted_path(artifact_folder(uri)))
    except OperationalError as error:
        raise ServerUnavailableError(f"tracking: {postgresql.reason(error)}") from error
    except (SQLAlchemyError, ImportError) as error:
        found = f"{redact_text(uri)} cannot be opened ({postgresql.reason(error)})"
        raise InputError("tracking.uri", found, fix=postgresql.FIX) from error
    client = _open_database(postgresql.with_limits(uri))
    _reached_databases.add(uri)
    return client


def _prepare_file(path: Path, uri: str) -> None:
    found = sqlite_file.inspect_file(path)
    if found.condition in ("missing", "half made"):
        with store_lock(uri):  # another process may make it, or have made it by now
            found = sqlite_file.inspect_file(path)
            if found.condition in ("missing", "half made"):
                sqlite_file.make_file(path, quoted_path(artifact_folder(uri)))
    sqlite_file.check_version(path, found)


def _open_database(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        found = f"{redact_text(uri)} needs the Python package `{error.name}`, which is not installed"
        raise InputError("tracking.uri", found, fix=f"pip install {error.name}") from error
    except SQLAlchemyError as error:
        if is_postgresql(uri) and isinstance(error, OperationalError):
            raise ServerUnavailableError(f"tracking: {postgresql.reason(error)}") from error
        found = f"{redact_text(uri)} cannot be opened ({postgresql.reason(error)})"
        fix = "check the address and that the database runs; if its tables are half made, make a new database"
        raise InputError("tracking.uri", found, fix=fix) from error
    except MlflowException as error:
        if "schema" not in str(error):
            raise
        import mlflow

        found = f"{redact_text(uri)} has the tables of another version of MLflow ({mlflow.__version__} is installed)"
        fix = f"install that version, or copy the database and run: mlflow db upgrade '{redact_text(uri)}'"
        raise InputError("tracking.uri", found, fix=fix) from error
    return client


def configure_mlflow() -> None:
    """Set MLflow to give up sooner, report no usage, and write nothing to the terminal.

    Existing environment variables are kept.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # MLflow reads its variable when it is imported, and that may have been before.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    # Both also raise exceptions, which are reported once.
    logging.getLogger(compat.DATABASE_LOGGER).setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def translate(error: Exception) -> TrackingError | None:
    """The error of a request as a `TrackingError` of one line without secrets; None if it is another kind of error.

    Every error that is not a refusal counts as an outage, even an expired login: it may be fixed during the training.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DataError, SQLAlchemyError

    is_answer = isinstance(error, MlflowException)
    # The errors of `requests` are OSErrors. A database's comes as it is if MLflow cannot roll back.
    if not is_answer and not isinstance(error, OSError | SQLAlchemyError):
        return None
    cause = error.__cause__ if is_answer else error
    refused = is_answer and error.error_code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}
    refused = refused or isinstance(cause, DataError)  # a value that the database cannot store, such as a NUL
    text = postgresql.reason(cause if isinstance(cause, SQLAlchemyError) else error) or type(error).__name__
    line = "tracking: " + (text if len(text) <= 300 else text[:299] + "…")
    return TrackingError(line) if refused else ServerUnavailableError(line)


def translate_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Turn MLflow's errors into `TrackingError` and `ServerUnavailableError`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            ours = translate(error)
            if ours is None:
                raise
            raise ours from error

    return call


def is_reachable(uri: str) -> bool:
    """Whether to try a store again after an outage; a server must answer quickly, with any status below 500."""
    if is_postgresql(uri):
        return postgresql.answers(uri, PROBE_SECONDS)
    if not is_server(uri):
        return True
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS).close()  # noqa: S310 http(s) by check
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def quoted_path(path: Path) -> str:
    """The path as a `file:` URI with escaped characters, as MLflow needs for an artifact location."""
    return "file://" + quote(str(path))

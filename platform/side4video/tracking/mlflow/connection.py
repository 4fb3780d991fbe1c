"""How this process reaches the MLflow store: its address, its client, and which failures will pass.

Only explicit addresses and ids are used. MLflow's own defaults depend on the working folder, which differs in
every Ray worker, and its notion of an active experiment is unsafe when several processes start at once.
"""

import functools
import hashlib
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from filelock import FileLock

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.paths import home
from side4video.spec.tracking import check_tracking_uri, sqlite_path
from side4video.tracking.redaction import redact_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
T = TypeVar("T")

PROBE_SECONDS = 2.0
"""How long a server that was away may take to say that it is back."""

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class TrackingError(Side4VideoError):
    """The tracking store refused a request for what it says: a bad name, a run that is gone."""


class OutageError(TrackingError):
    """The tracking store cannot be reached or is overloaded; the same request may succeed later."""


def resolve_uri(uri: str) -> str:
    """The store's address: the one given, else MLFLOW_TRACKING_URI, else SQLite in the platform's folder.

    Raises:
        InputError: if it is a relative path or a file store.
    """
    where = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not chosen:
        return f"sqlite:///{home() / 'mlflow.db'}"
    try:
        return check_tracking_uri(chosen)
    except ValueError as error:
        raise InputError(where, redact_text(str(error))) from error


def artifact_folder(uri: str) -> Path:
    """Where the artifacts of a store without a server lie: beside its SQLite file, else in the platform's folder."""
    database = sqlite_path(uri)
    return (Path(database).parent if database else home()) / "artifacts"


def is_server(uri: str) -> bool:
    """Whether the address is a tracking server's, rather than a database's."""
    return urlsplit(uri).scheme in {"http", "https"}


def store_id(uri: str) -> str:
    """A short name of a store that tells nothing about its address."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold what only one process at a time may do to a store: create it, look up and create a run.

    Several processes that open a fresh SQLite store at once break each other's migrations.
    """
    database = sqlite_path(uri)
    file = Path(f"{database}.lock") if database else home() / "locks" / f"{store_id(uri)}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file, is_singleton=True):  # the same thread may come here again
        yield


def connect(uri: str) -> "MlflowClient":
    """A client of the store; for a database, its tables are made or brought up to date.

    Raises:
        InputError: if a database cannot be opened. A server is not contacted yet.
    """
    silence_mlflow()
    from mlflow import MlflowClient

    if is_server(uri):
        return MlflowClient(tracking_uri=uri)
    with store_lock(uri):  # making the client makes the tables
        if path := sqlite_path(uri):
            _check_database(path)
        try:
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except ModuleNotFoundError as error:
            found = f"{redact_text(uri)} needs the Python package `{error.name}`, which is not installed"
            raise InputError("tracking.uri", found, fix=f"pip install {error.name}") from error
    return client


def _check_database(path: str) -> None:
    """Say at once what MLflow would find out in minutes of trying."""
    try:
        with closing(sqlite3.connect(path, timeout=20)) as database:
            database.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        allowed = "a file that can be written, or that is not there yet"
        raise InputError("tracking.uri", f"{path} is no SQLite database ({error})", allowed=allowed) from error


def silence_mlflow() -> None:
    """Settings without which mlflow is slow to give up, reports usage, and writes to the user's terminal.

    What the user has set stays.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Failures of these two reach us as exceptions, and we say once what they mean.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def translate(error: Exception) -> TrackingError | None:
    """The failure of a request as one of ours, of one line and without secrets; None if it is somebody's bug.

    All that is not a refusal counts as an outage, even a login that has expired: it may be put right while the
    training goes on.
    """
    from mlflow.exceptions import MlflowException

    is_answer = isinstance(error, MlflowException)
    if not is_answer and not isinstance(error, OSError):  # the errors of `requests` are OSErrors
        return None
    refused = is_answer and error.error_code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}
    text = " ".join(redact_text(str(error)).split()) or type(error).__name__
    line = "tracking: " + (text if len(text) <= 300 else text[:299] + "…")
    return TrackingError(line) if refused else OutageError(line)


def translate_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Turn mlflow's failures, which callers cannot name, into `TrackingError` and `OutageError`."""

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
    """Whether a store that failed is worth trying again; a server must answer quickly, in whatever way."""
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
    """The path as MLflow wants an artifact location: a `file:` URI, its special characters escaped."""
    return "file://" + quote(str(path))

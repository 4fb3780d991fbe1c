"""The check of the run store: whether runs can be recorded. Nothing is made or changed."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from side4video.apps.doctor.finding import Finding, failed, note, ok
from side4video.apps.doctor.machine_checks import check_home, is_writable
from side4video.core.disk_errors import existing_folder
from side4video.core.errors import InputError
from side4video.core.paths import home_path
from side4video.spec.check_database_driver import check_database_driver
from side4video.spec.tracking import check_tracking_uri, is_postgresql, sqlite_path
from side4video.tracking.mlflow import postgresql
from side4video.tracking.mlflow.connection import is_reachable, is_server
from side4video.tracking.mlflow.sqlite_file import check_version, inspect_file
from side4video.tracking.redaction import redact_text

CONNECT_SECONDS = 3.0
_PORTS = {"mysql": 3306, "mssql": 1433}


def check_store() -> Finding:
    """Whether the default store can be reached: that of MLFLOW_TRACKING_URI, or the file in the home."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri and (home := check_home()).status == "failed":
        return failed(f"it lies in the home, which cannot be used: {home.text}", home.fix)
    if not uri:
        return _check_file(home_path() / "mlflow.db", "export SIDE4VIDEO_HOME=/some/folder")
    try:
        check_tracking_uri(uri)
    except ValueError as error:
        return failed(f"MLFLOW_TRACKING_URI: {redact_text(str(error))}", "correct the variable, or unset it")
    if database := sqlite_path(uri):
        return _check_file(Path(database), "correct MLFLOW_TRACKING_URI, or unset it")
    shown, fix = redact_text(uri), "start the server, or unset MLFLOW_TRACKING_URI to keep runs in a local file"
    if is_server(uri):
        return ok(f"{shown} answers") if is_reachable(uri) else failed(f"{shown} does not answer", fix)
    if is_postgresql(uri):
        return _check_postgresql(uri)
    address = urlsplit(uri)
    port = address.port or _PORTS.get(address.scheme.split("+")[0], 0)
    try:
        socket.create_connection((address.hostname or "localhost", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return failed(f"{shown} does not answer ({error.strerror or error})", fix)
    return ok(f"{shown} answers")


def _check_postgresql(uri: str) -> Finding:
    """A PostgreSQL database, whose tables are made at the first run."""
    from sqlalchemy.exc import SQLAlchemyError

    shown = redact_text(uri)
    try:
        check_database_driver(uri, where="MLFLOW_TRACKING_URI")
        postgresql.set_defaults()
        revision = postgresql.stored_revision(uri)
        postgresql.check_revision(uri, revision)
    except InputError as error:
        return failed(error.found, error.fix or postgresql.FIX)
    except (SQLAlchemyError, ImportError) as error:
        return failed(f"{shown} does not answer ({postgresql.reason(error)})", postgresql.FIX)
    return ok(f"{shown} answers" if revision else f"{shown} is empty; its tables are made at the first run")


def _check_file(path: Path, fix: str) -> Finding:
    """An SQLite file, which is made at the first run if it is not there."""
    if not path.exists():
        if not is_writable(existing_folder(path.parent)):
            return failed(f"{path} is not there and cannot be made", fix)
        return ok(f"{path} is made at the first run")
    if not is_writable(path.parent) or not os.access(path, os.W_OK):
        return failed(f"{path} can be read and not written, so no run can be recorded", fix)
    try:
        found = inspect_file(path)
        check_version(path, found)
    except InputError as error:
        return failed(error.found, error.fix or fix)
    if found.condition == "half made":
        return note(f"{path} was left half made, and is made anew at the next run")
    return ok(f"{path} is whole")

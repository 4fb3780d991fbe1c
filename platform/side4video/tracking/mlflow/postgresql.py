"""A PostgreSQL database as the store: its tables, whether it answers, and the limits of its connections.

MLflow makes missing tables without a lock that other machines see, changes tables of an older version where one is
missing, and tries for minutes to reach a database that is away. So the tables are looked at first, over a connection
of our own. A password is never part of a message: those of libpq do not contain it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.tracking.mlflow import compat
from side4video.tracking.redaction import redact_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

FIX = "check the address and the login, and that the server runs; or leave `tracking.uri` empty to keep runs in a file"

SETTINGS = {
    "PGAPPNAME": "side4video",
    "PGCONNECT_TIMEOUT": "5",
    # One process writes for all workers of a run or sweep, with few threads; a server process has ten.
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "2",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "8",
}
"""Environment variables of libpq and MLflow; those that are set stay as they are. At most ten connections a process."""

_LIMITS = {"tcp_user_timeout": "15000", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""Options of libpq: after 15 s (in ms) without an answer of the machine, a connection counts as broken.

Linux's own limit is 15 minutes."""

_LOCK = int.from_bytes(b"s4v mlfl")
"""Key of the advisory lock around the making of tables."""


def set_defaults() -> None:
    """Set the environment variables of connections that are not set."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # its errors are raised, too


def with_limits(uri: str) -> str:
    """The address, with options that end connections to a machine that is gone. Options in the address stay."""
    from sqlalchemy import make_url

    url = make_url(uri)
    if url.drivername not in ("postgresql", "postgresql+psycopg", "postgresql+psycopg2"):
        return uri  # its options have other names
    missing = {name: value for name, value in _LIMITS.items() if name not in url.query}
    return url.update_query_dict(missing).render_as_string(hide_password=False)


def identity(uri: str) -> str:
    """What tells the database from others: its address without the password, and what libpq takes from variables."""
    from sqlalchemy import make_url

    names = ("PGSERVICE", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER")
    added = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return " ".join([make_url(uri).render_as_string(hide_password=True), *added])


def answers(uri: str, seconds: float) -> bool:
    """Whether the database can be connected to in this time (at least 2 s, libpq's minimum)."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _connected(uri, seconds=seconds):
            return True
    except SQLAlchemyError:
        return False


def prepare_database(uri: str, artifacts: str) -> None:
    """Make MLflow's tables in a database that has none; of several processes, on any machines, one does.

    `artifacts` is the artifact location of MLflow's default experiment, which side4video does not use.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: It cannot be reached, or the user may not make tables.
        InputError: It is of another version of MLflow.
    """
    from sqlalchemy import text

    with _connected(uri) as connection:
        revision = _revision(connection)
    if not revision:
        # The lock ends with its transaction, also when this process is killed.
        with _connected(uri) as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            revision = _revision(connection)
            if not revision:
                compat.make_tables(with_limits(uri), artifacts)
                revision = _revision(connection)
    check_revision(uri, revision)


def stored_revision(uri: str) -> str:
    """The revision of the tables; empty for a database without MLflow's tables. Nothing is changed.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: It cannot be reached.
    """
    with _connected(uri) as connection:
        return _revision(connection)


def check_revision(uri: str, revision: str) -> None:
    """Refuse tables of another version of MLflow.

    Raises:
        InputError: They are of an older version, a newer one, or another program.
    """
    if revision in ("", compat.newest_revision()):
        return
    import mlflow

    shown, installed = redact_text(uri), f"MLflow {mlflow.__version__} is installed"
    if revision in compat.known_revisions():
        raise InputError(
            "tracking.uri",
            f"{shown} has the tables of an older version of MLflow ({revision}); {installed}",
            fix=f"make a copy with pg_dump while no run trains, then run: mlflow db upgrade '{shown}'",
        )
    raise InputError(
        "tracking.uri",
        f"{shown} has tables of a newer version of MLflow or of another program ({revision}); {installed}",
        fix="install the version of MLflow that made it, or name another database",
    )


def reason(error: Exception) -> str:
    """The error of a database in one line: the driver's own words, without SQL and its parameters."""
    return redact_text(" ".join(str(getattr(error, "orig", None) or error).split()))[:400]


@contextmanager
def _connected(uri: str, seconds: float = 0.0) -> "Iterator[Connection]":
    """A connection in one transaction, without a pool."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    arguments = {"connect_timeout": max(2, round(seconds))} if seconds else {}
    with create_engine(with_limits(uri), poolclass=NullPool, connect_args=arguments).begin() as connection:
        yield connection


def _revision(connection: "Connection") -> str:
    from sqlalchemy import text

    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")

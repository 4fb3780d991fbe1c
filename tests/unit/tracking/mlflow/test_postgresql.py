"""Addresses, limits, revisions and errors of PostgreSQL. With a server: `tests/integration/test_postgresql.py`."""

import os

import pytest
from sqlalchemy.exc import DataError, OperationalError

from side4video.core.errors import InputError
from side4video.tracking.mlflow import compat, connection, postgresql
from side4video.tracking.mlflow.connection import ServerUnavailableError, TrackingError, translate

ADDRESS = "postgresql://me:hunter2@host:5433/runs"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PG", "MLFLOW_SQLALCHEMYSTORE"))]:
        monkeypatch.delenv(name)


def test_connections_to_a_machine_that_is_gone_end():
    limited = postgresql.with_limits(ADDRESS)
    assert limited.startswith(f"{ADDRESS}?")
    assert "tcp_user_timeout=15000" in limited
    assert "keepalives_idle=30" in limited


def test_limits_of_the_address_and_other_drivers_stay():
    own = postgresql.with_limits(f"{ADDRESS}?tcp_user_timeout=60000&sslmode=require")
    assert own.count("tcp_user_timeout") == 1
    assert "tcp_user_timeout=60000" in own
    assert "sslmode=require" in own
    assert postgresql.with_limits("postgresql+pg8000://me@host/runs") == "postgresql+pg8000://me@host/runs"


def test_an_escaped_password_stays_escaped():
    assert postgresql.with_limits("postgresql://me:p%40ss@host/runs").startswith("postgresql://me:p%40ss@host/runs?")


def test_variables_that_are_set_are_kept(monkeypatch):
    for name in postgresql.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "30")
    postgresql.set_defaults()
    assert os.environ["PGCONNECT_TIMEOUT"] == "30"
    assert os.environ["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] == "2"


def test_what_waits_is_delivered_after_the_password_changed():
    assert connection.store_id(ADDRESS) == connection.store_id(ADDRESS.replace("hunter2", "hunter3"))
    assert connection.store_id(ADDRESS) != connection.store_id(ADDRESS.replace("runs", "other"))
    assert connection.store_id("http://me:a@host") != connection.store_id("http://me:b@host")


def test_another_service_is_another_database(monkeypatch):
    before = connection.store_id("postgresql://")
    monkeypatch.setenv("PGSERVICE", "other")
    assert connection.store_id("postgresql://") != before


def test_tables_of_another_version_are_refused_without_the_password():
    older = next(each for each in compat.known_revisions() if each != compat.newest_revision())
    with pytest.raises(InputError, match=r"an older version of MLflow.*fix: make a copy.*mlflow db upgrade") as refused:
        postgresql.check_revision(ADDRESS, older)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(InputError, match="a newer version of MLflow or of another program"):
        postgresql.check_revision(ADDRESS, "0123")
    postgresql.check_revision(ADDRESS, compat.newest_revision())


def _raised(kind, text):
    from mlflow.exceptions import MlflowException

    cause = kind("INSERT INTO tags", {"value": "long"}, Exception(text))
    try:
        raise MlflowException(cause) from cause
    except MlflowException as error:
        return error


def test_a_server_that_ends_is_an_outage_in_one_line():
    translated = translate(_raised(OperationalError, "server closed\nthe connection"))
    assert type(translated) is ServerUnavailableError
    assert str(translated) == "tracking: server closed the connection"


def test_a_rollback_that_fails_is_an_outage():
    """MLflow rolls back in its handler, and lets that error through."""
    translated = translate(OperationalError("ROLLBACK", {}, Exception("server closed the connection")))
    assert type(translated) is ServerUnavailableError


def test_a_value_that_it_does_not_store_is_no_outage():
    """Else it would wait in the queue for ever, and all that comes after it."""
    assert type(translate(_raised(DataError, "cannot contain NUL"))) is TrackingError

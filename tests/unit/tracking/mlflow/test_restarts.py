"""Which requests wait while a database restarts, and for how long."""

import pytest

from side4video.tracking.mlflow import restarts
from side4video.tracking.mlflow.connection import ServerUnavailableError

ADDRESS = "postgresql://me:hunter2@host/runs"


class Store:
    """Fails some times, then answers."""

    def __init__(self, failures, *, uri=ADDRESS):
        self.failures, self.uri, self.calls, self.queued = failures, uri, 0, 0

    def flush(self):
        self.queued = max(0, self.queued - 1)
        return self.queued

    @restarts.waits_for_restart
    def read(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise ServerUnavailableError("away")
        return "answer"

    @restarts.waits_for_restart
    def read_twice(self):
        return self.read() + self.read()


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(restarts, "RESTART_SECONDS", 0.2)
    monkeypatch.setattr(restarts, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(restarts, "was_reached", lambda uri: uri == ADDRESS)


def test_it_waits_and_says_so_once_without_the_password(caplog):
    store = Store(failures=3)
    assert store.read() == "answer"
    assert store.calls == 4
    (record,) = caplog.records
    assert "is not reachable; waiting for it" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_an_answer_has_what_was_written_before():
    store = Store(failures=0)
    store.queued = 3
    assert store.read() == "answer"
    assert (store.queued, store.calls) == (0, 1)


def test_it_gives_up_once_not_at_each_level():
    store = Store(failures=10**9)
    with pytest.raises(ServerUnavailableError):
        store.read_twice()
    assert store.calls <= 12


@pytest.mark.parametrize("uri", ["http://host:5000", "sqlite:////a/b.db", "postgresql://me@host/not-reached-before"])
def test_servers_files_and_the_first_request_do_not_wait(uri):
    store = Store(1, uri=uri)
    with pytest.raises(ServerUnavailableError):
        store.read()
    assert store.calls == 1

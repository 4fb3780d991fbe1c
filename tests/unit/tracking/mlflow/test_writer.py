"""One flush delivers what waits of every run of a store, and says how much is left."""

import shutil

import pytest

from side4video.core.errors import Side4VideoError
from side4video.tracking.mlflow.connection import store_id
from side4video.tracking.mlflow.offline_queue import OfflineQueue
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.mlflow.writer import Writer

URI = "http://127.0.0.1:9"
RUNS = ["a", "b", "c"]


class Client:
    """The part of MLflow's client that ends a run; for some runs the store is away."""

    def __init__(self, away=()):
        self.away, self.ended = set(away), []

    def set_terminated(self, run_id, status, end_ms):
        from mlflow.exceptions import MlflowException

        if run_id in self.away:
            raise MlflowException("API request to http://host failed: away")
        self.ended.append((run_id, status, end_ms))


def delivery_to(client):
    delivery = Writer(URI)
    delivery.client = client
    return delivery


@pytest.fixture
def waiting(home):
    """An end of each run waits for the store, and one of a run of another store."""
    for number, run_id in enumerate(RUNS):
        OfflineQueue(run_id, store_id(URI)).append({"status": "FINISHED", "end_ms": number})
    OfflineQueue("other", store_id("http://127.0.0.1:10")).append({"status": "FINISHED", "end_ms": 9})


ENDS = [("a", "FINISHED", 0), ("b", "FINISHED", 1), ("c", "FINISHED", 2)]


def test_every_run_is_delivered_by_one_flush(waiting):
    client = Client()
    assert delivery_to(client).flush() == 0
    assert client.ended == ENDS
    assert list(OfflineQueue.waiting(store_id(URI))) == []
    assert delivery_to(client).flush() == 0
    assert client.ended == ENDS


def test_a_flush_of_one_run_leaves_the_others(waiting):
    client = Client()
    assert delivery_to(client).flush("b") == 0
    assert client.ended == ENDS[1:2]
    assert [queue.run_id for queue in OfflineQueue.waiting(store_id(URI))] == ["a", "c"]


@pytest.mark.parametrize("away", [["a"], ["b"], ["c"], ["a", "c"], RUNS])
def test_what_is_left_is_counted_over_all_runs(waiting, away):
    for run_id in away:
        OfflineQueue(run_id, store_id(URI)).append({"status": "FAILED", "end_ms": 5})
    client = Client(away)
    assert delivery_to(client).flush() == 2 * len(away)
    assert client.ended == [end for end in ENDS if end[0] not in away]
    assert [queue.run_id for queue in OfflineQueue.waiting(store_id(URI))] == away


def test_another_stores_runs_wait_for_it(waiting):
    delivery_to(Client()).flush()
    assert not OfflineQueue("other", store_id("http://127.0.0.1:10")).is_empty()


def test_a_mistake_of_the_store_is_no_outage(waiting):
    class Refuses(Client):
        def set_terminated(self, run_id, status, end_ms):
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

            raise MlflowException("no such status", error_code=INVALID_PARAMETER_VALUE)

    assert delivery_to(Refuses()).flush() == 0
    with pytest.raises(Side4VideoError, match="no such status"):
        delivery_to(Refuses()).write("d", {"status": "GONE", "end_ms": 0})


def test_a_real_store_has_all_runs_after_one_flush(home, empty_database):
    shutil.copyfile(empty_database, home / "mlflow.db")
    store = MLflowStore()
    runs = [store.start_run(name=name, key=name) for name in RUNS]
    for run_id in runs:
        OfflineQueue(run_id, store_id(store.uri)).append({"tags": {"note": "waited"}})
    assert store.flush() == 0
    assert [store.get(run_id).tags["note"] for run_id in runs] == ["waited"] * 3

"""A store that is away loses nothing, keeps the order and delivers once."""

import errno
import json
import logging
import os

import pytest

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.tracking.mlflow.connection import ServerUnavailableError, TrackingError
from side4video.tracking.mlflow.offline_queue import OfflineQueue
from side4video.tracking.mlflow.store import MLflowStore


def metric(key, value, step):
    return Metric(key, value, step, 1_700_000_000_000 + step)


class Flaky:
    """MLflow's client over a line that can be cut, before a request or after it was carried out."""

    def __init__(self, client):
        self.client, self.is_away, self.loses_answers, self.calls = client, False, False, []

    def __getattr__(self, name):
        from mlflow.exceptions import MlflowException

        def call(*args, **kwargs):
            if self.is_away:
                raise MlflowException(f"API request to http://me:hunter2@host failed: {name}")
            self.calls.append(name)
            answer = getattr(self.client, name)(*args, **kwargs)
            if self.loses_answers:
                raise MlflowException("timeout")
            return answer

        return call


@pytest.fixture
def line(store):
    """The store's line; asked at once whether it is back."""
    store._writer.probe_seconds = 0.0
    store._writer.client = Flaky(store._client)
    return store._writer.client


@pytest.fixture
def run_id(store):
    return store.start_run(name="a", key="k")


def steps(store, run_id, key="train/loss"):
    return [m.step for m in store.history(run_id, key)]


def waiting(home):
    return sorted(file.name for file in (home / "outbox").glob("*.jsonl"))


def test_what_is_logged_during_an_outage_is_delivered_in_order_once(store, line, run_id, home):
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    line.is_away = True
    for step in (1, 2, 3):
        store.log(run_id, [metric("train/loss", 1.0, step)])
    store.set_tags(run_id, {"note": "first"})
    store.set_tags(run_id, {"note": "second"})
    store.log_params(run_id, {"late": 1})
    assert waiting(home) == [f"{run_id}.jsonl"]
    line.is_away = False
    line.calls.clear()
    store.log(run_id, [metric("train/loss", 1.0, 4)])
    assert steps(store, run_id) == [0, 1, 2, 3, 4]
    assert store.get(run_id).tags["note"] == "second"
    assert store.get(run_id).params == {"late": "1"}
    assert waiting(home) == []
    assert line.calls.count("log_batch") == 7


def test_flush_delivers_and_says_what_is_left(store, line, run_id, home):
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    store.finish(run_id)
    assert store.flush() == 2
    line.is_away = False
    assert store.flush() == 0
    assert store.get(run_id).status == "FINISHED"
    assert steps(store, run_id) == [0]
    assert store.flush() == 0


def test_another_process_may_deliver(store, line, run_id, home):
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    assert MLflowStore(experiment="other").flush() == 0
    assert steps(MLflowStore(), run_id) == [0]


def test_artifacts_wait_as_they_were(store, line, run_id, home, tmp_path):
    file = tmp_path / "p.csv"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    file.write_text("then")
    line.is_away = True
    store.log_file(run_id, file, "predictions/test.csv")
    store.log_file(run_id, folder, "last")
    store.log_text(run_id, "hello", "notes/a.txt")
    file.write_text("now")
    line.is_away = False
    assert store.flush(run_id) == 0
    assert store.download(run_id, "predictions/test.csv", tmp_path / "back").read_text() == "then"
    assert store.download(run_id, "notes/a.txt", tmp_path / "back").read_text() == "hello"
    assert (store.download(run_id, "last", tmp_path / "back") / "a.json").exists()
    assert not list((home / "outbox").glob("*.files"))


def test_a_request_whose_answer_was_lost_is_not_doubled(store, line, run_id):
    line.loses_answers = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    line.loses_answers = False
    # The worker measured the step again, at another time, before the outbox was delivered.
    store.log(run_id, [Metric("train/loss", 1.0, 0, 1_800_000_000_000), metric("train/loss", 1.0, 1)])
    assert steps(store, run_id) == [0, 1]


def test_a_crash_between_delivery_and_removal_doubles_nothing(store, line, run_id, home):
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    store.log_params(run_id, {"a": 1})
    kept = (home / "outbox" / f"{run_id}.jsonl").read_text()
    line.is_away = False
    store.flush()
    (home / "outbox" / f"{run_id}.jsonl").write_text(kept)
    assert MLflowStore().flush() == 0
    assert steps(store, run_id) == [0]


def test_half_a_line_of_a_process_that_died_spoils_nothing(store, line, run_id, home):
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    with (home / "outbox" / f"{run_id}.jsonl").open("a") as stream:
        stream.write('{"store": "x", "record": {"metr')
    store.log(run_id, [metric("train/loss", 1.0, 1)])
    line.is_away = False
    assert store.flush() == 0
    assert steps(store, run_id) == [0, 1]


def test_an_outage_in_the_middle_of_delivery_keeps_the_rest(run_id, store):
    queue = OfflineQueue("r", "s")
    for number in range(4):
        queue.append({"tags": {"n": str(number)}})
    seen = []

    def apply(record):
        if len(seen) == 2:
            raise ServerUnavailableError("away")
        seen.append(record["tags"]["n"])

    assert queue.deliver(apply) == 2
    assert [record["tags"]["n"] for record in queue.records()] == ["2", "3"]
    seen.clear()
    assert queue.deliver(lambda record: seen.append(record["tags"]["n"])) == 0
    assert seen == ["2", "3"]
    assert queue.is_empty()


def test_a_refused_record_is_set_aside_and_holds_up_nobody(store, run_id, home):
    queue = OfflineQueue("r", "s")
    for number in range(3):
        queue.append({"tags": {"n": str(number)}})
    seen = []

    def apply(record):
        if record["tags"]["n"] == "1":
            raise TrackingError("no")
        seen.append(record["tags"]["n"])

    assert queue.deliver(apply) == 0
    assert seen == ["0", "2"]
    rejected = json.loads((home / "outbox" / "r.rejected.jsonl").read_text())
    assert rejected["record"] == {"tags": {"n": "1"}, "refused": "no"}
    assert list(OfflineQueue.waiting("s")) == []


def test_a_bug_while_delivering_is_raised_and_loses_nothing(store, run_id):
    queue = OfflineQueue("r", "s")
    queue.append({"tags": {}})
    with pytest.raises(ZeroDivisionError):
        queue.deliver(lambda record: 1 / 0)
    assert len(queue.records()) == 1


def test_the_outage_is_told_once_without_passwords(store, line, run_id, caplog):
    line.is_away = True
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            store.log(run_id, [metric("train/loss", 1.0, step)])
    warnings = [record.getMessage() for record in caplog.records if "not reachable" in record.getMessage()]
    assert len(warnings) == 1
    assert "hunter2" not in caplog.text


def test_while_the_store_is_away_only_a_probe_now_and_then_costs_time(store, line, run_id):
    store._writer.probe_seconds = 1000.0
    line.is_away = True
    other = store.start_run  # a second run of the same process must not wait for its own failure
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    line.is_away = False
    line.calls.clear()
    store.log(run_id, [metric("train/loss", 1.0, 1)])
    store.log("0" * 32, [metric("train/loss", 1.0, 1)])
    assert line.calls == []
    assert other


def test_when_the_store_is_back_every_run_of_the_process_is_delivered(store, line, run_id, home):
    second = store.start_run(name="b", key="k2")
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    store.finish(second)
    line.is_away = False
    store.log(run_id, [metric("train/loss", 1.0, 1)])
    assert store.get(second).status == "FINISHED"
    assert waiting(home) == []


def test_a_continued_run_gets_what_waited_before_it_goes_on(store, line, run_id):
    line.is_away = True
    store.log(run_id, [metric("train/loss", 1.0, 0)])
    store.finish(run_id, "FAILED")
    line.is_away = False
    again = MLflowStore()
    assert again.start_run(name="a", key="k") == run_id
    assert again.get(run_id).status == "RUNNING"
    assert steps(again, run_id) == [0]


def test_a_finished_run_whose_end_waits_is_not_run_twice(store, line, run_id):
    line.is_away = True
    store.finish(run_id)
    line.is_away = False
    assert MLflowStore().start_run(name="a", key="k") != run_id
    assert store.get(run_id).status == "FINISHED"


def test_a_line_that_a_full_disk_cut_short_is_taken_back(home, monkeypatch):
    queue = OfflineQueue("run", "store")
    queue.append({"tags": {"a": "1"}})

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for run_id, kept in (("run", 1), ("another", 0)):
        with monkeypatch.context() as patch:
            patch.setattr("side4video.tracking.mlflow.offline_queue.os.fsync", full)
            with pytest.raises(InputError, match="no space left"):
                OfflineQueue(run_id, "store").append({"tags": {"b": "2" * 1000}})
        assert len(OfflineQueue(run_id, "store").records()) == kept
        assert OfflineQueue(run_id, "store").is_empty() == (kept == 0)

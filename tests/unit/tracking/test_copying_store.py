"""A store with copies: the store is the record, the copies have what it has, and their faults are notes."""

import copy
import pickle

import pytest

from side4video.core.metric import Metric
from side4video.spec.tracking import TensorBoardSpec
from side4video.tracking.copying_store import CopyingStore, copy_failures
from side4video.tracking.file_store import FileStore
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG
from side4video.tracking.run_holder import renewing_tag
from side4video.tracking.sinks.guard import FAILURE_PREFIX, Guard
from side4video.tracking.tags import HOLDER_TAG, NOTES_TAG
from sink_fakes import FailingSink, ListSink


def copying(folder, *sinks):
    return CopyingStore(FileStore(folder), [], [Guard(sink) for sink in sinks]).prepare()


def metrics(*steps):
    return [Metric.now("eval/top1", 1 / (step + 3), step) for step in steps]


def steps_of(sink):
    return [step for _, _, step in sink.points]


def test_a_copy_has_what_the_store_has(tmp_path):
    sink = ListSink()
    store = copying(tmp_path, sink)
    run = store.start_run(name="run", key="k", tags={"a": "1"}, params={"seed": 3, "password": "x"}, parent="p")
    store.log(run, metrics(0, 1))
    store.log_json(run, {}, "spec.json")
    store.set_tags(run, {"state": "finished", DESCRIPTION_TAG: "all is well"})
    store.finish(run)
    (header,) = sink.opened
    assert (header.run_id, header.name, header.parent, header.params["seed"]) == (run, "run", "p", "3")
    assert "x" not in header.params.values()
    assert steps_of(sink) == [0, 1]
    end = sink.ended[run]
    assert (end.status, end.description, end.artifacts) == ("FINISHED", "all is well", ["spec.json"])
    assert {"a": "1", "state": "finished"}.items() <= end.tags.items()
    assert store.get(run).status == "FINISHED"


def test_a_continued_run_is_completed(tmp_path):
    """A copy that was asked for later, or that failed before, gets what the store has."""
    plain = FileStore(tmp_path).prepare()
    run = plain.start_run(name="run", key="k")
    plain.log(run, metrics(0, 1))
    sink = ListSink()
    store = copying(tmp_path, sink)
    assert store.start_run(name="run", key="k") == run
    store.log(run, metrics(1, 2))
    assert steps_of(sink) == [0, 1, 2]


def test_another_process_may_write_in_between(tmp_path):
    """As on Ray: the driver starts and ends the run, the controller logs."""
    sink, other = ListSink(), ListSink()
    driver = copying(tmp_path, sink)
    run = driver.start_run(name="run", key="k")
    driver.log(run, metrics(0))
    driver.flush()
    assert sink.released == 1
    controller = copying(tmp_path, other)
    controller.log(run, metrics(1))
    driver.forget(run)
    driver.log(run, metrics(2))
    assert steps_of(other) == [0, 1]
    assert steps_of(sink) == [0, 1, 2]


def test_a_store_with_copies_is_pickled_by_its_document(tmp_path):
    store = CopyingStore(FileStore(tmp_path / "records"), [TensorBoardSpec(folder=str(tmp_path / "events"))])
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - its own
    assert (again.specs, again.uri) == (store.specs, store.uri)
    copied = copy.copy(store)
    assert copied.specs == store.specs
    assert copied.store is not store.store  # another thread needs a client of its own


@pytest.mark.parametrize("method", ["open", "log", "close"])
def test_a_failure_is_a_note_of_the_run(method, tmp_path):
    bad, good = FailingSink(method), ListSink()
    store = copying(tmp_path, bad, good)
    run = store.start_run(name="run", key="k")
    store.log(run, metrics(0))
    store.set_tags(run, {NOTES_TAG: "went on from step 3"})
    store.log(run, metrics(1))
    store.finish(run)
    assert bad.calls == [method]
    assert steps_of(good) == [0, 1]
    assert run in good.ended
    stored = FileStore(tmp_path).get(run)
    assert stored.status == "FINISHED"
    notes = stored.tags[NOTES_TAG].split("\n")
    assert notes[0] == "went on from step 3"
    assert [note.startswith(f"{FAILURE_PREFIX}A wall: ") for note in notes[1:]] == [True]
    assert copy_failures(store, run) == notes[1:]
    assert copy_failures(FileStore(tmp_path), run) == []


def test_a_failure_in_another_process_stays_in_the_notes(tmp_path):
    driver = copying(tmp_path, ListSink())
    run = driver.start_run(name="run", key="k")
    driver.flush()
    copying(tmp_path, FailingSink("log")).log(run, metrics(0))
    driver.set_tags(run, {NOTES_TAG: "went on from step 3"})
    first, second = driver.get(run).tags[NOTES_TAG].split("\n")
    assert (first, second.startswith(FAILURE_PREFIX)) == ("went on from step 3", True)


def test_what_would_lose_the_note_is_noticed(tmp_path, monkeypatch):
    """Of the test above: a broken twin that looks at its own process alone."""
    monkeypatch.setattr(CopyingStore, "failures", lambda self, run_id: [])
    driver = copying(tmp_path, ListSink())
    run = driver.start_run(name="run", key="k")
    copying(tmp_path, FailingSink("log")).log(run, metrics(0))
    driver.set_tags(run, {NOTES_TAG: "went on"})
    assert driver.get(run).tags[NOTES_TAG] == "went on"


def test_the_tag_of_the_holder_opens_nothing(tmp_path):
    sink = ListSink()
    store = copying(tmp_path, sink)
    run = store.start_run(name="run", key="k")
    with renewing_tag(store, {"a": run}):
        assert FileStore(tmp_path).get(run).tags[HOLDER_TAG]
    assert len(sink.opened) == 1

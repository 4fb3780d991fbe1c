"""What every store of runs promises: MLflow's and the one of plain files answer alike."""

import json
import shutil
from contextlib import contextmanager

import pytest

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.tracking.copying_store import CopyingStore
from side4video.tracking.file_store import EVENTS, METRICS, FileStore
from side4video.tracking.mlflow import local_artifacts
from side4video.tracking.sinks.guard import Guard
from side4video.tracking.tags import KEY_TAG, SWEEP_TAG
from sink_fakes import ListSink


@pytest.fixture(params=["mlflow", "files", "files and a copy"])
def any_store(request, tmp_path):
    if request.param == "files":
        return FileStore(tmp_path / "records").prepare()
    if request.param == "files and a copy":
        return CopyingStore(FileStore(tmp_path / "records"), [], [Guard(ListSink())]).prepare()
    return request.getfixturevalue("store").prepare()


@pytest.fixture
def files(tmp_path):
    return FileStore(tmp_path / "records").prepare()


def start(store, key="k", **options):
    return store.start_run(name=options.pop("name", "run"), key=key, **options)


def test_a_run_is_read_back_as_it_was_written(any_store, tmp_path):
    run = start(any_store, tags={"a": "1"}, params={"method": {"dim": 320, "kind": "side4video"}})
    any_store.log(run, [Metric.now("eval/top1", 0.25, 3), Metric.now("eval/top1", 0.5, 7)])
    any_store.log_json(run, {"password": "secret", "x": [1, 2]}, "spec.json")
    (tmp_path / "weights.bin").write_bytes(b"123")
    any_store.log_file(run, tmp_path / "weights.bin", "checkpoint/weights.bin")
    any_store.finish(run)
    found = any_store.get(run)
    assert (found.name, found.status) == ("run", "FINISHED")
    assert found.params["method.dim"] == "320"
    assert found.metrics == {"eval/top1": 0.5}
    assert {"a": "1", KEY_TAG: "k"}.items() <= found.tags.items()
    assert [each.value for each in any_store.history(run, "eval/top1")] == [0.25, 0.5]
    assert 0 < found.start_ms <= found.end_ms
    document = json.loads(any_store.download(run, "spec.json", tmp_path / "out").read_text())
    assert document["x"] == [1, 2]
    assert "secret" not in document.values()
    assert (any_store.download(run, "checkpoint", tmp_path / "out") / "weights.bin").read_bytes() == b"123"
    with pytest.raises(InputError, match=r"no artifact.*spec\.json"):
        any_store.download(run, "gone.json", tmp_path)


def test_the_first_value_of_a_key_and_step_stays(any_store):
    run = start(any_store)
    any_store.log(run, [Metric.now("a", 1.0, 5)])
    any_store.log(run, [Metric.now("a", 2.0, 5), Metric.now("a", 3.0, 6)])
    any_store.forget(run)
    any_store.log(run, [Metric.now("a", 4.0, 5)])
    assert [(each.step, each.value) for each in any_store.history(run, "a")] == [(5, 1.0), (6, 3.0)]


def test_parameters_keep_their_first_value_and_tags_their_last(any_store):
    run = start(any_store, params={"x": 1}, tags={"state": "training"})
    any_store.log_params(run, {"x": 2, "y": 3})
    any_store.set_tags(run, {"state": "finished"})
    found = any_store.get(run)
    assert (found.params["x"], found.params["y"], found.tags["state"]) == ("1", "3", "finished")


def test_an_unfinished_run_is_continued_and_a_finished_one_is_not(any_store):
    first = start(any_store)
    any_store.finish(first, "KILLED")
    assert start(any_store) == first
    assert any_store.get(first).status == "RUNNING"
    any_store.finish(first)
    second = start(any_store)
    assert second != first
    assert start(any_store, resume=False) not in (first, second)
    assert start(any_store, key="other") not in (first, second)


def test_a_finished_run_is_reopened_when_asked(any_store):
    first = start(any_store)
    any_store.finish(first)
    assert start(any_store, reopen_finished=True) == first


def test_runs_are_found_by_what_they_are(any_store):
    one = start(any_store, "1", name="one", tags={"state": "finished", SWEEP_TAG: "s"})
    two = start(any_store, "2", name="two", tags={"state": "finished"})
    any_store.finish(one)
    assert {run.run_id for run in any_store.runs(tags={"state": "finished"})} == {one, two}
    assert [run.run_id for run in any_store.runs(tags={"state": "finished"}, with_tags=(SWEEP_TAG,))] == [one]
    assert [run.run_id for run in any_store.runs(status="FINISHED", all_experiments=True)] == [one]
    assert [run.run_id for run in any_store.runs(name="two")] == [two]
    assert any_store.runs(name="three") == []
    assert len(any_store.runs(limit=1)) == 1
    assert any_store.find(one[:8]).run_id == one
    assert any_store.find("two").run_id == two
    with pytest.raises(InputError):
        any_store.find("three")
    with pytest.raises(InputError, match="fix: give 4 or more characters of the id"):
        any_store.find(one[:2])


# ---- files


def test_half_a_line_of_a_killed_process_costs_that_line_alone(files):
    run = start(files, tags={"a": "1"})
    files.log(run, [Metric.now("m", 1.0, 1)])
    folder = files.folder / files.experiment / run
    for name, torn in ((EVENTS, '{"tags": {"b'), (METRICS, "m,2,0.")):
        with (folder / name).open("a") as stream:
            stream.write(torn)
    again = FileStore(files.folder)
    again.set_tags(run, {"c": "3"})
    again.log(run, [Metric.now("m", 3.0, 3)])
    assert {"a": "1", "c": "3"}.items() <= again.get(run).tags.items()
    assert [each.step for each in again.history(run, "m")] == [1, 3]


def test_numbers_that_are_none_are_kept(files):
    run = start(files)
    files.log(run, [Metric.now("m", float("nan"), 1), Metric.now("m", float("inf"), 2)])
    values = [each.value for each in files.history(run, "m")]
    assert values[0] != values[0]
    assert values[1] > 1e300


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"tracking\.folder"):
        FileStore(tmp_path / "file" / "records").prepare()


def read_while_written(store, folder, monkeypatch):
    """Names of what a reader gets of a run's checkpoint while another file is written into it."""
    run, weights, copyfile, found = start(store), folder / "weights.bin", shutil.copyfile, []
    weights.write_bytes(b"whole")
    store.log_file(run, weights, "checkpoint/first.bin")

    def copy(source, target):
        monkeypatch.setattr(shutil, "copyfile", copyfile)  # the reader copies too
        target.write_bytes(b"half")
        read = store.download(run, "checkpoint", folder / "read")
        found.extend(sorted(path.name for path in read.iterdir()))
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy)
    store.log_file(run, weights, "checkpoint/weights.bin")
    read = store.download(run, "checkpoint", folder / "then")
    assert sorted(path.name for path in read.iterdir()) == ["first.bin", "weights.bin"]
    assert (read / "weights.bin").read_bytes() == b"whole"
    return found


def test_a_reader_gets_no_file_that_is_being_written(any_store, tmp_path, monkeypatch):
    assert read_while_written(any_store, tmp_path, monkeypatch) == ["first.bin"]


@pytest.mark.parametrize("fault", ["a reader copies partial files", "files are written under their last names"])
def test_what_would_give_half_of_a_file_is_noticed(fault, files, tmp_path, monkeypatch):
    """Of the test above: its broken twins."""
    if fault == "a reader copies partial files":
        monkeypatch.setattr(local_artifacts, "_is_partial", lambda path: False)
    else:
        monkeypatch.setattr(local_artifacts, "replacing", in_place)
    assert read_while_written(files, tmp_path, monkeypatch) != ["first.bin"]


@contextmanager
def in_place(path):
    """A broken twin of `core.files.replacing`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path


def test_names_of_what_is_there_leave_out_files_that_are_being_written(any_store, tmp_path):
    run = start(any_store)
    any_store.log_json(run, {}, "spec.json")
    (place,) = tmp_path.rglob("artifacts/spec.json")
    (place.parent / ".plan.json.0a1b2c3d.partial").write_text("half")
    with pytest.raises(InputError, match=r"no artifact `gone` · allowed: spec\.json$"):
        any_store.download(run, "gone", tmp_path)


def test_a_name_means_the_newest_finished_run(store):
    """`predict NAME` after a run that failed: the model that is there, not the one that is none."""
    ids = {status: store.prepare().start_run(name="same", key=status) for status in ("FINISHED", "FAILED")}
    for status, run_id in ids.items():
        store.finish(run_id, status)
    assert store.find("same", finished_first=True).run_id == ids["FINISHED"]
    assert store.find("same").run_id == ids["FAILED"]
    assert store.find(ids["FAILED"], finished_first=True).run_id == ids["FAILED"]
    only = store.start_run(name="only", key="only")
    assert store.find("only", finished_first=True).run_id == only

"""Relative and absolute paths of one file are one experiment, also for runs of version 0.1.0 and from other folders."""

import os

import pytest

from side4video.core.paths import absolute_path, near_path
from side4video.core.progress import SILENT, MessageProgress
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import ABSOLUTE_TAG, DIGEST_TAG
from sweeps import make_sweep, run
from tiny import tiny
from validation_clips import list_with_validation


def spelled(path, seed=101, **changes):
    dataset = {"kind": "list", "annotations": path, "class_names": {"kind": "numbered", "count": 10}}
    return tiny(name="spelled", data={"dataset": dataset}, seed=seed, **changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    tiny().data.dataset.prepare()
    list_with_validation(tmp_path / "project" / "clips")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


SPELLINGS = (
    "clips/list.csv",
    "./clips/list.csv",
    "clips/../clips/list.csv",
    "{}/clips/list.csv",
    "../project/clips/list.csv",
)


def test_one_file_has_one_digest(folder, monkeypatch):
    digests = {spelled(path.format(folder)).digest() for path in SPELLINGS}
    assert len(digests) == 1
    assert spelled("clips/other.csv").digest() not in digests
    assert spelled("${CLIPS}/list.csv").digest() not in digests
    monkeypatch.chdir(folder.parent)
    assert spelled("clips/list.csv").digest() in digests  # a project that is moved keeps its digests
    assert spelled("project/clips/list.csv").digest() not in digests


def test_the_digest_of_a_relative_path_is_that_of_before(folder):
    spec = spelled("clips/list.csv")
    assert spec.digest() == spec.digest(spell=str)
    assert spelled(f"{folder}/clips/list.csv").digests()[1] == spelled(f"{folder}/clips/list.csv").digest(spell=str)


@pytest.mark.parametrize("text", ["", "s3://bucket/a", "${CLIPS}/a", "~/a"])
def test_other_texts_stay(text):
    assert near_path(text) == absolute_path(text) == text


@pytest.mark.slow
def test_a_run_is_found_under_another_spelling(folder, monkeypatch):
    first = launch({"a": spelled("clips/list.csv")}, progress=SILENT)["a"]
    again = launch({"a": spelled(f"{folder}/clips/list.csv")}, progress=SILENT, go_on=True)["a"]
    assert again.run_id == first.run_id
    monkeypatch.chdir(folder.parent / "elsewhere")
    for path in ("../project/clips/list.csv", f"{folder}/clips/list.csv"):
        assert launch({"a": spelled(path)}, progress=SILENT, go_on=True)["a"].run_id == first.run_id


@pytest.mark.slow
@pytest.mark.parametrize("before", ["near", "written as in 0.1.0"])
def test_a_run_goes_on_under_another_spelling(folder, monkeypatch, before):
    seed = 102 if before == "near" else 103

    def interrupt(message):
        if message["phase"] == "evaluated":
            raise KeyboardInterrupt

    written = spelled(f"{folder}/clips/list.csv", seed)
    with pytest.raises(KeyboardInterrupt):
        launch({"a": written}, progress=MessageProgress(interrupt))
    store = MLflowStore().prepare()
    (begun,) = (each for each in store.runs(name="spelled") if each.tags[DIGEST_TAG] == written.digest())
    if before != "near":
        store.set_tags(begun.run_id, {DIGEST_TAG: written.digest(spell=str), ABSOLUTE_TAG: ""})
    monkeypatch.chdir(folder.parent / "elsewhere")
    finished = launch({"a": spelled(f"{folder}/clips/list.csv", seed)}, progress=SILENT, resume=True)["a"]
    assert finished.run_id == begun.run_id
    assert any("went on from step 2" in note for note in finished.notes)


@pytest.mark.slow
def test_an_arm_is_taken_over_under_another_spelling(folder):
    def sweep(path, name):
        data = {"dataset": {"kind": "list", "annotations": path, "class_names": {"kind": "numbered", "count": 10}}}
        return make_sweep(name, {"data": data, "seed": 104}, grid={"method.layers": [1, 2]})

    run(sweep("clips/list.csv", "relative"))
    trained = []
    run(sweep(os.path.join(folder, "clips", "list.csv"), "absolute"), progress=MessageProgress(trained.append))  # noqa: PTH118
    assert not [message for message in trained if message.get("phase") == "evaluated"]

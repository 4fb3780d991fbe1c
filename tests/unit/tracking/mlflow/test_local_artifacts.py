"""Artifacts of a store without a server: whole files, beside the database, also after the home was moved or copied."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from side4video.core.errors import InputError
from side4video.tracking.mlflow.local_artifacts import write_artifact
from side4video.tracking.mlflow.store import MLflowStore


def store_in(home, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(home))
    return MLflowStore()


def logged(store, text="text", key="run"):
    run_id = store.prepare().start_run(name="run", key=key)
    store.log_text(run_id, text, "folder/notes.txt")
    return run_id


def text_of(store, run_id, folder):
    return store.download(run_id, "folder/notes.txt", folder).read_text()


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A home with a run."""
    return logged(store_in(tmp_path / "before", monkeypatch))


def test_a_moved_home_holds_its_files_and_takes_new_ones(before, tmp_path, monkeypatch):
    (tmp_path / "before").rename(tmp_path / "after")
    store = store_in(tmp_path / "after", monkeypatch)
    assert text_of(store.prepare(), before, tmp_path / "out") == "text"
    new = logged(store, "new", key="new")
    assert text_of(store, new, tmp_path / "new") == "new"
    assert not (tmp_path / "before").exists()
    for run_id in (before, new):  # as MLflow's own pages find them
        assert store.get(run_id).artifact_uri == f"file://{tmp_path}/after/artifacts/{run_id}/artifacts"
        assert [each.path for each in store._client.list_artifacts(run_id, "folder")] == ["folder/notes.txt"]


def test_a_copy_and_its_original_do_not_mix(before, tmp_path, monkeypatch):
    shutil.copytree(tmp_path / "before", tmp_path / "copy")
    copy = store_in(tmp_path / "copy", monkeypatch).prepare()
    new = logged(copy, "of the copy", key="new")
    copy.log_text(before, "changed in the copy", "folder/notes.txt")
    assert text_of(copy, new, tmp_path / "1") == "of the copy"
    assert not (tmp_path / "before/artifacts" / new).exists()
    original = store_in(tmp_path / "before", monkeypatch).prepare()
    assert text_of(original, before, tmp_path / "2") == "text"
    assert [run.run_id for run in original.runs()] == [before]


def test_a_moved_home_that_cannot_be_written_is_read(before, tmp_path, monkeypatch):
    (tmp_path / "before").rename(tmp_path / "after")

    def refused(*_):
        raise InputError("tracking.uri", "cannot be written")

    monkeypatch.setattr("side4video.tracking.mlflow.store.move_addresses", refused)
    store = store_in(tmp_path / "after", monkeypatch).prepare()
    assert store.get(before).artifact_uri.startswith(f"file://{tmp_path}/before/")
    assert text_of(store, before, tmp_path / "out") == "text"


def test_a_database_that_went_alone_finds_its_files_where_they_are(before, tmp_path, monkeypatch):
    (tmp_path / "alone").mkdir()
    shutil.copyfile(tmp_path / "before/mlflow.db", tmp_path / "alone/mlflow.db")
    store = store_in(tmp_path / "alone", monkeypatch).prepare()
    assert text_of(store, before, tmp_path / "out") == "text"


def test_files_that_are_gone_are_said_with_the_places(before, tmp_path, monkeypatch):
    (tmp_path / "before").rename(tmp_path / "after")
    (tmp_path / "after/artifacts").rename(tmp_path / "elsewhere")
    store = store_in(tmp_path / "after", monkeypatch).prepare()
    with pytest.raises(
        InputError, match=r"its files are not in .*after/artifacts.* bring the folder of artifacts back"
    ):
        text_of(store, before, tmp_path / "out")


def test_a_file_that_cannot_be_written_is_not_there(tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "weights").write_bytes(b"all of it")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/weights").write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        for target in ("new/weights", "kept/weights"):
            with pytest.raises(OSError, match="No space left"):
                write_artifact(tmp_path / "weights", tmp_path / target)
    assert list((tmp_path / "new").iterdir()) == []
    assert (tmp_path / "kept/weights").read_bytes() == b"before"
    write_artifact(tmp_path / "weights", tmp_path / "kept/weights")
    assert (tmp_path / "kept/weights").read_bytes() == b"all of it"

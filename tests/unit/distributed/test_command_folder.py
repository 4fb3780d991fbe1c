"""Paths of a document on another process or machine: as where the command was called, or one line that says why not."""

import os
import pickle

import pytest

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.distributed.command_folder import CommandFolder
from tiny import tiny

WEIGHTS = {"weights": {"kind": "file", "path": "tower.safetensors"}}
NAMED = {
    "the list": ({"data": {"dataset": {"kind": "list", "annotations": "clips/list.csv"}}}, "data.dataset.annotations"),
    "its folder": (
        {"data": {"dataset": {"kind": "list", "annotations": "/x.csv", "root": "videos"}}},
        "data.dataset.root",
    ),
    "class names": (
        {
            "data": {
                "dataset": {"kind": "list", "annotations": "/x.csv", "class_names": {"kind": "file", "path": "n.txt"}}
            }
        },
        "data.dataset.class_names.path",
    ),
    "the test list": (
        {
            "data": {
                "dataset": {
                    "kind": "list",
                    "annotations": "/x.csv",
                    "split_by": {"kind": "file", "test_annotations": "../test.csv"},
                }
            }
        },
        "data.dataset.split_by.test_annotations",
    ),
    "a folder of classes": ({"data": {"dataset": {"kind": "folder", "root": "./videos"}}}, "data.dataset.root"),
    "shards": ({"data": {"dataset": {"kind": "webdataset", "root": "shards"}}}, "data.dataset.root"),
    "weights": ({"backbone": WEIGHTS}, "backbone.weights.path"),
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Tests change the folder and the variables of this process, as workers do."""
    (tmp_path / "command").mkdir()
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "command")
    for name in ("CLIPS_OF_THE_TEST", "NEVER_SET_IN_THE_TEST"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)


def sent(*specs):
    """What arrives at a worker."""
    return pickle.loads(pickle.dumps(CommandFolder.current(specs)))  # noqa: S301 - our own


def test_a_worker_enters_the_folder_of_the_command(tmp_path):
    spec = tiny(backbone=WEIGHTS)
    folder = sent(spec)
    os.chdir(tmp_path / "worker")
    folder.enter({"tiny": spec})
    assert os.path.realpath(".") == str((tmp_path / "command").resolve())


@pytest.mark.parametrize("named", NAMED)
def test_a_machine_without_the_folder_says_so_and_names_the_field(tmp_path, named):
    changes, field = NAMED[named]
    spec = tiny(**changes)
    folder = sent(spec)
    os.chdir(tmp_path / "worker")
    (tmp_path / "command").rmdir()
    with pytest.raises(
        InputError, match=rf"is relative to {tmp_path}/command, a folder that .* does not have"
    ) as error:
        folder.enter({"tiny": spec})
    assert error.value.where == field


def test_a_job_finds_its_own_copy_of_the_files(tmp_path):
    spec = tiny(backbone=WEIGHTS)
    folder = sent(spec)
    (tmp_path / "worker/tower.safetensors").touch()
    os.chdir(tmp_path / "worker")
    (tmp_path / "command").rmdir()
    folder.enter({"tiny": spec})
    assert os.path.realpath(".") == str((tmp_path / "worker").resolve())


@pytest.mark.parametrize("path", ["/data/tower.safetensors", "~/tower.safetensors", "${CLIPS_OF_THE_TEST}/tower.pt"])
def test_absolute_paths_need_no_folder(tmp_path, path):
    spec = tiny(backbone={"weights": {"kind": "file", "path": path}})
    folder = sent(spec)
    os.chdir(tmp_path / "worker")
    (tmp_path / "command").rmdir()
    folder.enter({"tiny": spec})


@pytest.mark.parametrize("own", [None, ""])
def test_a_worker_gets_the_variables_that_it_does_not_have(monkeypatch, own):
    spec = tiny(backbone={"weights": {"kind": "file", "path": "${CLIPS_OF_THE_TEST}/tower.pt"}})
    monkeypatch.setenv("CLIPS_OF_THE_TEST", "/data")
    monkeypatch.setenv("NEVER_SET_IN_THE_TEST", "a secret that no path names")
    folder = sent(spec)
    assert dict(folder.variables) == {"CLIPS_OF_THE_TEST": "/data"}
    monkeypatch.delenv("CLIPS_OF_THE_TEST") if own is None else monkeypatch.setenv("CLIPS_OF_THE_TEST", own)
    folder.enter({"tiny": spec})
    assert expand(spec.backbone.weights.path) == "/data/tower.pt"


def test_a_worker_keeps_its_own_variables(monkeypatch):
    spec = tiny(backbone={"weights": {"kind": "file", "path": "${CLIPS_OF_THE_TEST}/tower.pt"}})
    monkeypatch.setenv("CLIPS_OF_THE_TEST", "/data")
    folder = sent(spec)
    monkeypatch.setenv("CLIPS_OF_THE_TEST", "/mnt/here")
    folder.enter({"tiny": spec})
    assert expand(spec.backbone.weights.path) == "/mnt/here/tower.pt"


def test_the_document_travels_as_it_is_written():
    """An absolute path in its place would be another hash: earlier checkpoints and runs would not be found."""
    spec = tiny(backbone=WEIGHTS)
    digest = spec.digest()
    sent(spec).enter({"tiny": spec})
    assert spec.backbone.weights.path == "tower.safetensors"
    assert spec.digest() == digest

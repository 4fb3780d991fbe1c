"""A name that a folder of videos and a run share is the run: `init gestures` gives the run the name of the folder."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import side4video
from side4video.apps.export.command import export
from side4video.apps.serve.served_model import find_model
from side4video.cli.main import cli
from side4video.core.errors import InputError


@pytest.fixture
def here(run, tmp_path, monkeypatch):
    """A folder with a folder of videos that has the name of the run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exported" / "fall").mkdir(parents=True)
    assert run.run_id
    return tmp_path


def test_a_folder_of_videos_does_not_hide_a_run(here, run, tmp_path):
    """The twin took the folder, and said that its bundle.json cannot be read."""
    assert run.run_id[:8] in side4video.load("exported").origin
    assert run.run_id[:8] in find_model("exported", "", tmp_path, device="cpu").source
    done = CliRunner().invoke(cli, ["predict", "exported", "no.mp4"])
    assert f"run {run.run_id[:8]}" in done.stderr


def test_an_exported_folder_hides_a_run(here, run):
    done = CliRunner().invoke(export, [run.run_id, str(here / "kept"), "--with-backbone", "--no-speed"])
    assert done.exit_code == 0, done.output
    (here / "exported" / "fall").rmdir()
    (here / "exported").rmdir()
    (here / "kept").rename("exported")
    assert side4video.load("exported").origin.startswith(f"run {run.run_id[:8]}")
    assert find_model("exported", "", here, device="cpu").source == "the exported folder exported"


@pytest.mark.parametrize("name", ["videos", "vid.eos"])
def test_neither_a_run_nor_a_model(here, name):
    (here / name).mkdir()
    both = rf"{name}.*; and the folder {name} is no exported model: it has no bundle\.json"
    for find in (side4video.load, lambda model: find_model(model, "", here, device="cpu")):
        with pytest.raises(InputError, match=both):
            find(name)


@pytest.mark.parametrize("name", ["./exported", "exported/", Path("exported")])
def test_a_path_is_a_folder(here, name):
    with pytest.raises(InputError, match=r"exported: it is no exported model: it has no bundle\.json .*; or a run"):
        side4video.load(name)

"""`side4video init` as it is called: what it prints, and its exit codes."""

import json

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from own_videos import SMALL, class_folders
from side4video.cli.init import init
from side4video.cli.validate import validate
from side4video.core.errors import InputError

SETTINGS = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture
def clips(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # no test asks the network
    return class_folders(tmp_path / "clips", {"jump": 4, "wave": 4})


def call(*arguments):
    return CliRunner().invoke(init, [*map(str, arguments), *SETTINGS], catch_exceptions=True)


def test_it_says_what_it_found_and_what_comes_next(clips):
    done = call(clips)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:7]] == [
        "found",
        "clips",
        "split",
        "videos",
        "machine",
        "plan",
        "written",
    ]
    assert lines[-3].strip().startswith("side4video validate clips.yaml")
    assert CliRunner().invoke(validate, ["clips.yaml"]).exit_code == 0


def test_json_is_nothing_but_json(clips):
    done = call(clips, "--json", "-o", "a.yaml")
    document = json.loads(done.stdout)
    assert document["file"] == "a.yaml"
    assert document["clips"] == {"train": 6, "test": 2}


def test_a_wrong_source_is_an_input_error(clips):
    done = call(clips / "nowhere")
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2


def test_a_second_call_refuses(clips):
    assert call(clips).exit_code == 0
    assert isinstance(call(clips).exception, InputError)
    assert call(clips, "--force").exit_code == 0

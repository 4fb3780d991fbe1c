"""A packing on a full disk ends in a sentence, leaves whole shards only, and goes on; two do not write one folder."""

import errno
import os
import re
import tarfile

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.data import data as data_group
from side4video.core.errors import InputError
from side4video.core.whole_folder import hold_folder
from tiny import DOCUMENT, merged
from video_sets import make_list


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    document = merged(DOCUMENT, {})
    document["data"]["dataset"] = make_list(tmp_path / "clips", size=(32, 48))
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(document))
    return str(file)


def packed(spec, folder):
    command = ["pack", spec, str(folder), "--files-per-shard", "4", "--codec", "copy"]
    return CliRunner().invoke(data_group, command)


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("after", "shards"), [(0, 0), (1, 0), (9, 1), (19, 2)])
def test_a_full_disk_leaves_whole_shards_and_the_same_command_goes_on(after, shards, spec, tmp_path, monkeypatch):
    assert packed(spec, tmp_path / "whole").exit_code == 0
    left, add = after, tarfile.TarFile.addfile

    def limited(archive, info, content=None):
        nonlocal left
        left -= 1
        if left < 0:
            archive.fileobj.write(b"half of a member")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return add(archive, info, content)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "addfile", limited)
        done = packed(spec, tmp_path / "out")
    assert isinstance(done.exception, InputError), done.exception
    place = re.escape(str(tmp_path / "out"))
    assert re.match(rf"{place}: no space left on the device: .* free · fix: make room there", str(done.exception))
    whole = contents_of(tmp_path / "whole")
    kept = contents_of(tmp_path / "out")
    assert "manifest.json" not in kept
    assert kept.items() <= whole.items()
    assert len(kept) == 1 + shards  # and the plan
    assert packed(spec, tmp_path / "out").exit_code == 0
    assert contents_of(tmp_path / "out") == whole


def test_the_second_command_is_told_of_the_first(spec, tmp_path):
    with hold_folder(tmp_path / "out"):
        done = packed(spec, tmp_path / "out")
    assert isinstance(done.exception, InputError)
    assert re.search(r"out: process \d+ on .* works on it since .* · fix: wait until it is done", str(done.exception))
    assert not (tmp_path / "out").exists()
    assert packed(spec, tmp_path / "out").exit_code == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_plan_that_a_killed_process_left_half_written_does_not_stop_the_next(spec, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".plan.json.0a1b2c3d.partial").write_text("{")
    assert packed(spec, tmp_path / "out").exit_code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "own").write_text("{")
    assert "the folder is not empty" in str(packed(spec, tmp_path / "other").exception)

"""`side4video data pack` from outside: exit codes, JSON, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.data import data as data_group
from tiny import DOCUMENT, merged
from video_sets import make_list


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    file = tmp_path / "spec.yaml"
    changes = {"data": {"dataset": make_list(tmp_path / "clips", size=(96, 128))}}
    document = merged(DOCUMENT, changes)
    document["data"]["dataset"] = changes["data"]["dataset"]
    file.write_text(yaml.safe_dump(document))
    return str(file)


def packed(*arguments):
    return CliRunner().invoke(data_group, ["pack", *map(str, arguments)])


def test_it_says_what_was_written_and_how_to_use_it(tmp_path, spec):
    done = packed(spec, tmp_path / "out", "--files-per-shard", 4, "--verify")
    assert done.exit_code == 0, done.output
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("10 videos of 12 clips in 3 shards, ")
    assert "10 written now" in first
    assert "verified: every shard has the bytes that were written" in done.stdout
    assert last == f"use it with  dataset: {{kind: packed, root: {tmp_path / 'out'}}}"
    assert "packing videos 10/10" in done.stderr
    assert "verifying shards 3/3" in done.stderr
    again = packed(spec, tmp_path / "out", "--files-per-shard", 4, "--json")
    answer = json.loads(again.stdout)
    assert (answer["videos"], answer["encoded"], answer["clips"], answer["shards"]) == (10, 0, 12, 3)
    assert answer["fingerprint"] in done.stdout
    assert answer["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.tar"))


def test_a_wrong_shard_is_exit_code_1(tmp_path, spec):
    assert packed(spec, tmp_path / "out").exit_code == 0
    shard = tmp_path / "out/test-000000.tar"
    content = bytearray(shard.read_bytes())
    content[800] ^= 1  # of a video; that it is a shard can still be read
    shard.write_bytes(content)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    done = packed(spec, tmp_path / "out", "--verify", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["wrong"] == [f"{shard}: not the bytes that were written"]
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest


def test_what_cannot_be_is_said(tmp_path, spec):
    options = ["--codec", "mjpeg", "--quality", "1"]
    with pytest.raises(Exception, match="mjpeg · allowed: 2"):
        CliRunner().invoke(data_group, ["pack", spec, str(tmp_path / "x"), *options], catch_exceptions=False)
    changed = "data.dataset.frame_pattern='{:05d}.jpg'"
    with pytest.raises(Exception, match="copy, and the videos are folders of frames"):
        CliRunner().invoke(
            data_group,
            ["pack", spec, str(tmp_path / "x"), "--codec", "copy", "--set", changed],
            catch_exceptions=False,
        )


@pytest.mark.slow
def test_a_killed_packing_goes_on_and_ends_the_same(tmp_path, spec):
    command = [sys.executable, "-m", "side4video", "data", "pack", spec]
    options = ["--files-per-shard", "3", "--codec", "mjpeg"]
    assert packed(spec, tmp_path / "whole", *options).exit_code == 0
    process = subprocess.Popen([*command, str(tmp_path / "out"), *options], start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/train-000000.tar").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = packed(spec, tmp_path / "out", *options, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["encoded"] <= 7
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }

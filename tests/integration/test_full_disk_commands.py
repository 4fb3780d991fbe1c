"""Commands on small file systems, as `benchmarks/full_disk.py` calls them at forty sizes each."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import full_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SIZES = 3


@pytest.fixture
def mounts(tmp_path):
    """Skip where no file system may be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(tmp_path)]
    is_root = shutil.which("mount") and os.geteuid() == 0
    if not is_root or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_each_says_one_sentence_leaves_nothing_torn_and_goes_on(mounts):
    chosen = ("data make", "export", "figure curves")
    command = [sys.executable, full_disk.__file__, "--sizes", str(SIZES)]
    command += [word for name in chosen for word in ("--only", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, line in zip(chosen, done.stdout.splitlines()[-len(chosen) :], strict=True):
        assert line.startswith(name)
        found = json.loads(line.removeprefix(name))
        failed = found["sizes"] - found["fit"]
        assert failed >= 1
        assert found["codes"] == {"2": failed, "0": found["fit"]}
        assert (found["one_sentence"], found["goes_on"]) == (failed, failed)
        assert (found["tracebacks"], found["damaged"]) == (0, 0)


@pytest.mark.parametrize("suffix", [".json", ".safetensors", ".mp4", ".tar", ".png", ".html", ".csv", ".pdf", ".npz"])
def test_a_file_that_is_cut_short_counts_as_damaged(suffix, tmp_path):
    """Of the benchmark itself."""
    (tmp_path / f"file{suffix}").write_bytes(b'{"cut')
    assert full_disk.damaged(tmp_path) == [f"file{suffix}"]
    (tmp_path / f".file{suffix}.partial").write_bytes(b'{"cut')
    assert len(full_disk.damaged(tmp_path)) == 1


def test_the_stored_result_is_of_all_commands():
    """The queue of values for the store is a journal: its reader leaves out a last line that was cut short."""
    record = json.loads((Path(full_disk.RESULTS) / "full-disk.json").read_text())
    assert [study["command"] for study in record["studies"]] == [each.name for each in full_disk.commands({})]
    for study in record["studies"]:
        found = full_disk.summary(study["rows"])
        assert found == study["summary"]
        assert found["sizes"] >= 40
        assert found["one_sentence"] == found["goes_on"] == found["sizes"] - found["fit"]
        assert found["tracebacks"] == 0
        torn = [name for row in study["rows"] for name in row["damaged"]]
        assert all(name.startswith("outbox/") and name.endswith(".jsonl") for name in torn)

"""A temporary folder goes with its block, or with the next one after its process was killed; a living one stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from side4video.core import scratch
from side4video.core.scratch import remove_abandoned, scratch_folder

HOLDS = """
import time
from side4video.core.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", 0.0)
    yield tmp_path
    monkeypatch.undo()
    scratch.tempfile.tempdir = None


def test_it_goes_with_its_block(place):
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == place
        remove_abandoned()
        assert (folder / "file").exists()
    assert list(place.iterdir()) == []


def test_a_killed_process_leaves_it_to_the_next(place):
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env={**os.environ})
    folder = Path(process.stdout.readline().strip())
    remove_abandoned()
    assert (folder / "file").exists()  # its process lives
    process.kill()
    process.communicate()
    assert folder.exists()
    with scratch_folder():
        assert not folder.exists()


def test_one_that_was_made_just_now_stays(place, monkeypatch):
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", 60.0)
    young = place / f"{scratch.PREFIX}young"
    young.mkdir()
    remove_abandoned()
    assert young.exists()
    os.utime(young, (time.time() - 100,) * 2)
    remove_abandoned()
    assert not young.exists()

"""A temporary folder goes with its block, or with the next one after its process was killed; a living one stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from side4video.core import temporary
from side4video.core.temporary import remove_stale, temporary_folder

HOLDS = """
import time
from side4video.core.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(temporary.tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.undo()
    temporary.tempfile.tempdir = None


def test_it_goes_with_its_block(place):
    with temporary_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == place
        remove_stale(grace_seconds=0)
        assert (folder / "file").exists()
    assert list(place.iterdir()) == []


def test_a_killed_process_leaves_it_to_the_next(place):
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env={**os.environ})
    folder = Path(process.stdout.readline().strip())
    remove_stale(grace_seconds=0)
    assert (folder / "file").exists()  # its process lives
    process.kill()
    process.communicate()
    assert folder.exists()
    with temporary_folder():  # at once: its lock says that nobody owns it
        assert not folder.exists()


def test_one_that_was_made_just_now_stays(place):
    young = place / f"{temporary.PREFIX}young"
    young.mkdir()
    remove_stale()
    assert young.exists()
    os.utime(young, (time.time() - 100,) * 2)
    remove_stale()
    assert not young.exists()


MANY = """
import threading
from side4video.core.temporary import temporary_folder

def work():
    for _ in range(60):
        with temporary_folder() as folder:
            (folder / "file").write_text("x")
            assert (folder / "file").read_text() == "x"

threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_many_at_once_do_not_remove_each_others(place):
    """Each new folder looks for stale ones; none may be taken for one between its making and its lock."""
    command = [sys.executable, "-c", MANY]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ}) for _ in range(3)]
    assert [process.communicate(timeout=120)[1] for process in running] == ["", "", ""]
    assert list(place.iterdir()) == []

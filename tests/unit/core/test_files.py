"""A file is whole or not there, several files are all new or all old, and the error names the file."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from side4video.core import files
from side4video.core.errors import InputError
from side4video.core.files import WRITING_LOCK, replacing, write_atomically, write_together
from side4video.core.held_lock import hold

CONTENTS = {"a.md": "new", "b.csv": b"new", "c.png": b"new"}


class FullDisk:
    """Writing bytes fails from the n-th file on, half of which is written."""

    def __init__(self, monkeypatch, after):
        self.left, self.write = after, Path.write_bytes
        monkeypatch.setattr(Path, "write_bytes", lambda path, content: self.counted(path, content))

    def counted(self, path, content):
        self.left -= 1
        if self.left < 0:
            self.write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.write(path, content)


def contents_of(folder):
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    write_atomically(tmp_path / "new" / "a", "ä")
    write_atomically(tmp_path / "new" / "a", b"other")
    assert contents_of(tmp_path / "new") == {"a": b"other"}


def test_a_full_disk_keeps_what_was_there_and_names_the_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "a", "old")
    FullDisk(monkeypatch, 0)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/a'"):
        write_atomically(tmp_path / "a", "other")
    assert contents_of(tmp_path) == {"a": b"old"}


def test_other_names_in_errors_stay(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a"):
        (tmp_path / "source").read_bytes()
    assert error.value.filename == str(tmp_path / "source")
    assert contents_of(tmp_path) == {}


def test_files_are_written_together(tmp_path):
    found = write_together(tmp_path / "new", CONTENTS)
    assert found == [tmp_path / "new" / name for name in CONTENTS]
    assert contents_of(tmp_path / "new") == dict.fromkeys(CONTENTS, b"new")


@pytest.mark.parametrize("after", range(3))
def test_a_full_disk_keeps_all_old_files(after, tmp_path, monkeypatch):
    write_together(tmp_path, dict.fromkeys(CONTENTS, "old") | {"other": "kept"})
    before = contents_of(tmp_path)
    with monkeypatch.context() as patch:
        FullDisk(patch, after)
        with pytest.raises(InputError, match=rf"^{tmp_path}: no space left on the device: 9 B wanted, .* free · fix"):
            write_together(tmp_path, CONTENTS)
    assert contents_of(tmp_path) == before
    write_together(tmp_path, CONTENTS)
    assert contents_of(tmp_path) == before | dict.fromkeys(CONTENTS, b"new")


def test_it_waits_for_another_that_replaces_files(tmp_path):
    with hold(tmp_path / WRITING_LOCK, what="a", fix="b"):
        thread = threading.Thread(target=write_together, args=(tmp_path, CONTENTS))
        thread.start()
        thread.join(0.3)
        assert not (tmp_path / "a.md").exists()
    thread.join(10)
    assert contents_of(tmp_path) == dict.fromkeys(CONTENTS, b"new")


def test_it_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WAIT_SECONDS", 0.0)
    with (
        hold(tmp_path / WRITING_LOCK, what="a", fix="b"),
        pytest.raises(InputError, match=f"{tmp_path}: process {os.getpid()} on .* works on it since"),
    ):
        write_together(tmp_path, CONTENTS)
    assert contents_of(tmp_path) == {}


WRITES = """
import sys
from pathlib import Path
from side4video.core.files import write_together
for number in range(60):
    write_together(Path(sys.argv[1]), {name: f"{sys.argv[2]} {number}" for name in "abcdefgh"})
"""


def test_files_of_two_processes_are_never_mixed(tmp_path):
    command = [sys.executable, "-c", WRITES, str(tmp_path)]
    processes = [subprocess.Popen([*command, name]) for name in ("one", "two")]
    assert [process.wait(60) for process in processes] == [0, 0]
    found = contents_of(tmp_path)
    assert sorted(found) == list("abcdefgh")
    assert len(set(found.values())) == 1

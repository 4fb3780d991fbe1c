"""One process holds a lock, the others are told which; a killed holder's lock goes to the next."""

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from side4video.core import held_lock
from side4video.core.errors import InputError
from side4video.core.held_lock import hold

HOLDS = """
import sys, time
from pathlib import Path
from side4video.core.held_lock import hold
sys.argv = ["/usr/bin/side4video", "export", "https://user:secret@host", "folder", "--set", "a=secret"]
with hold(Path({file!r}), what="folder", fix="wait"):
    print("held", flush=True)
    time.sleep(100)
"""
COUNTS = """
import sys, time
from pathlib import Path
from side4video.core.held_lock import hold
place = Path({place!r})
for _ in range(40):
    with hold(place / ".lock", what="folder", fix="wait", wait_seconds=60):
        before = int((place / "count").read_text())
        time.sleep(0.001)
        (place / "count").write_text(str(before + 1))
"""


def take(file, **options):
    """Hold and let go."""
    with hold(file, what="the folder", fix="wait for it, or name another folder", **options):
        return json.loads(file.read_text())


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `.lock` in the test's folder."""
    code = HOLDS.format(file=str(tmp_path / ".lock"))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(InputError) as error:
        take(tmp_path / ".lock")
    pattern = (
        rf"the folder: process {holder.pid} on {re.escape(socket.gethostname())} works on it since "
        r"\d\d:\d\d:\d\d \(side4video export folder\) · fix: wait for it, or name another folder"
    )
    assert re.fullmatch(pattern, str(error.value))  # and no password of its command


def test_a_killed_holder_leaves_it_to_the_next(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    found = take(tmp_path / ".lock")
    assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
    assert not (tmp_path / ".lock").exists()


def test_the_name_of_a_killed_holder_is_not_told(tmp_path, monkeypatch):
    """The next holder has the lock and has not written its name yet."""
    monkeypatch.setattr(held_lock, "_WRITING_SECONDS", 0.1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file = tmp_path / ".lock"
    file.write_text(json.dumps({"pid": gone.pid, "host": socket.gethostname(), "since": 0.0, "command": "x"}))
    with file.open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="the folder: another process works on it · fix"):
            take(file)


def test_one_process_cannot_hold_it_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hold(tmp_path / ".lock", what="a", fix="b"):
        for file in (tmp_path / ".lock", Path(".lock"), tmp_path / "." / ".lock"):
            with pytest.raises(InputError, match=f"process {os.getpid()} on "):
                take(file)
    take(tmp_path / ".lock")


def test_not_even_where_the_file_system_grants_it(tmp_path, monkeypatch):
    """NFS may lock for a process, not for a descriptor."""
    monkeypatch.setattr(held_lock.fcntl, "flock", lambda descriptor, operation: None)
    with hold(tmp_path / ".lock", what="a", fix="b"), pytest.raises(InputError, match="works on it since"):
        take(tmp_path / ".lock")


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "new" / ".lock", what="a", fix="b"):
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []
    take(tmp_path / "new" / ".lock")


def test_it_may_be_waited_for(tmp_path):
    inside, leave = threading.Event(), threading.Event()

    def work():
        with hold(tmp_path / ".lock", what="a", fix="b"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    threading.Timer(0.2, leave.set).start()
    take(tmp_path / ".lock", wait_seconds=10)
    thread.join()


def test_processes_that_wait_never_hold_it_together(tmp_path):
    (tmp_path / "count").write_text("0")
    code = COUNTS.format(place=str(tmp_path))
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(100) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "120"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_file_that_was_removed_after_it_was_opened_is_opened_again(tmp_path, monkeypatch):
    """Its last holder removed it; the lock of no file would keep nobody out."""
    calls = []

    def flock(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / ".lock").unlink()
        real(descriptor, operation)

    real = fcntl.flock
    monkeypatch.setattr(held_lock.fcntl, "flock", flock)
    with hold(tmp_path / ".lock", what="a", fix="b"):
        assert len(calls) == 2
        with (tmp_path / ".lock").open() as stream, pytest.raises(BlockingIOError):
            real(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_file_is_removed_while_its_lock_is_held(tmp_path, monkeypatch):
    """Else it could be the file of the next holder."""
    checked = []

    def unlink(path):
        with path.open() as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        checked.append(path)
        real(path)

    real = Path.unlink
    monkeypatch.setattr(Path, "unlink", unlink)
    take(tmp_path / ".lock")
    assert checked == [tmp_path / ".lock"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSYS, r"the file system of .* cannot lock files \(Function not implemented\) · fix: name a folder"),
        (errno.ENOLCK, "the file system of .* cannot lock files"),
        (errno.EROFS, r"the file system is read-only · fix: name a folder on another file system"),
        (errno.ENOSPC, r"no space left on the device: .* free · fix: make room there"),
    ],
)
def test_without_locks_or_room_it_says_so(code, message, tmp_path, monkeypatch):
    def refuses(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(held_lock.fcntl, "flock", refuses)
    with pytest.raises(InputError, match=message):
        take(tmp_path / ".lock")
    monkeypatch.undo()
    take(tmp_path / ".lock")


def test_a_full_disk_keeps_the_holder_unnamed(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(held_lock, "_WRITING_SECONDS", 0.1)
    monkeypatch.setattr(held_lock.os, "pwrite", full)
    with (
        hold(tmp_path / ".lock", what="a", fix="b"),
        pytest.raises(InputError, match="another process works on it"),
    ):
        take(tmp_path / ".lock")

"""Errors of disks are one sentence, whichever library raises them; all other errors are left as they are."""

import errno
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from side4video.core import disk_errors
from side4video.core.disk_errors import explain_disk_error, explaining_disk_errors
from side4video.core.errors import InputError, Side4VideoError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            errno.ENOSPC,
            r": no space left on the device: 3\.00 MiB wanted, 5\.00 GiB free · fix: make room there, then ",
        ),
        (errno.EDQUOT, r": the disk quota is used up · fix: remove files or raise the quota"),
        (errno.EROFS, r": the file system is read-only · fix: name a folder on another file system"),
        (errno.EACCES, r": permission denied · fix: change its permissions"),
        (
            errno.EFBIG,
            r": the file is too large for its file system, or for `ulimit -f` · fix: name a folder on another",
        ),
        (errno.EIO, r": the device reports an input/output error · fix: check the device"),
    ],
)
def test_it_says_where_what_and_what_to_do(code, message, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_errors, "free_bytes", lambda place: 5 * 2**30)
    with (
        pytest.raises(InputError, match=f"^{tmp_path}/model{message}") as error,
        explaining_disk_errors(tmp_path / "model", wanted=3 * 2**20),
    ):
        raise OSError(code, os.strerror(code))
    assert error.value.__cause__.errno == code  # the whole story, for `--verbose`


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"),  # torch
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        sqlite3.OperationalError("database or disk is full"),
        OSError("25000 requested and 4096 written"),  # NumPy; it has no number
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        pickle.loads(pickle.dumps(FULL)),  # noqa: S301 - made here
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_errors_of_libraries_are_known(error, tmp_path):
    found = explain_disk_error(error, place=tmp_path)
    assert found is not None
    assert str(found).startswith(f"{tmp_path}: no space left on the device: ")


def test_an_error_behind_an_error_is_found():
    behind = OSError(errno.ENOSPC, "No space left on device", "/nowhere/a.csv")
    error = ValueError("it did not work")
    error.__cause__ = behind
    assert str(explain_disk_error(error)).startswith("/nowhere/a.csv: no space left on the device: ")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "a"),
        OSError(errno.EADDRINUSE, "Address already in use"),
        PermissionError(errno.EACCES, "Permission denied"),  # of a port
        PermissionError(errno.EPERM, "Operation not permitted"),  # of a process
        OSError("the file ends before its rows do"),
        ValueError("no space"),
        KeyError("full"),
    ],
    ids=repr,
)
def test_other_errors_are_not_errors_of_disks(error, tmp_path):
    assert explain_disk_error(error) is None
    if error.args[0] not in {errno.EACCES, errno.EPERM}:
        with pytest.raises(type(error)), explaining_disk_errors(tmp_path):
            raise error


def test_a_file_that_may_not_be_read_is_named_and_not_the_place_that_is_written(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "/data/clip.mp4")
    assert str(explain_disk_error(error, place=tmp_path)).startswith("/data/clip.mp4: permission denied")


def test_messages_for_users_pass_through(tmp_path):
    with pytest.raises(Side4VideoError, match="No space left, says the hub"), explaining_disk_errors(tmp_path):
        raise Side4VideoError("No space left, says the hub")


def test_the_error_behind_a_message_counts_but_for_a_mistake_that_is_explained(tmp_path):
    """A store takes its file's errors for its own."""
    for kind in (Side4VideoError("tracking: it is away"), InputError("tracking", "it is away")):
        kind.__cause__ = FULL
        found = explain_disk_error(kind, place=tmp_path)
        assert (found is None) == isinstance(kind, InputError)
    with pytest.raises(InputError, match=f"^{tmp_path}: no space left"), explaining_disk_errors(tmp_path):
        raise Side4VideoError("tracking: it is away") from FULL


def test_a_write_that_names_no_file_is_of_the_fullest_of_the_usual_folders(tmp_path, monkeypatch):
    free = {Path.cwd(): 2**30, tmp_path / "home": 100 * 2**10}
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(disk_errors, "free_bytes", lambda place: free.get(place, 2**30))
    assert str(explain_disk_error(FULL)).startswith(f"{tmp_path}/home: no space left on the device: 100.0 KiB free")
    free.clear()
    assert str(explain_disk_error(FULL)).startswith("a file: no space left on the device · fix: ")


RAISES = """
import os, sys
import side4video.cli.main as main
def command(**options):
    raise eval(sys.argv.pop())
main.cli.main = command
main.main()
"""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        ("OSError(28, 'No space left on device', '/a/b')", 2, "error: /a/b: no space left on the device: "),
        ("RuntimeError('No space left on device (os error 28)')", 2, "no space left on the device"),
        ("OSError(98, 'Address already in use')", 1, "Traceback"),
        ("FileNotFoundError(2, 'No such file', 'a')", 1, "Traceback"),
    ],
)
def test_the_command_line_catches_what_no_writer_caught(error, code, says):
    done = subprocess.run([sys.executable, "-c", RAISES, error], capture_output=True, text=True, check=False)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)

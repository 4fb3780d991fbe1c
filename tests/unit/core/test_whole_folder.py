"""A folder appears whole or not at all, and one process at a time writes it."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from side4video.core import whole_folder as module
from side4video.core.errors import InputError
from side4video.core.whole_folder import check_new, hold_folder, whole_folder


def write(folder, **options):
    """A folder of two files."""
    with whole_folder(folder, **options) as partial:
        (partial / "a").write_text("a")
        assert not (folder / "a").exists()
        (partial / "last").write_text("b")


def names(folder):
    """All that is below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("is_there", [False, True])
def test_it_appears_at_the_end(is_there, tmp_path):
    folder = tmp_path / "above" / "model"
    if is_there:
        folder.mkdir(parents=True)
    write(folder)
    assert names(tmp_path) == ["above", "above/model", "above/model/a", "above/model/last"]


def test_an_error_leaves_nothing(tmp_path):
    def fails():
        with whole_folder(tmp_path / "model", wanted=7) as partial:
            (partial / "a").write_text("a")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=rf"^{tmp_path}/model: no space left on the device: 7 B wanted, ") as error:
        fails()
    assert ".partial" not in str(error.value)
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "model"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "half").write_text("a")
    write(tmp_path / "model")
    assert names(tmp_path) == ["model", "model/a", "model/last"]


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own").write_text("own")
    for attempt in (check_new, write):
        with pytest.raises(InputError, match=r"model: it is there already · fix: name a new folder"):
            attempt(tmp_path / "model")
    assert names(tmp_path) == ["model", "model/own"]


def test_what_appears_in_the_meantime_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "check_new", lambda folder: None)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own").write_text("own")
    with pytest.raises(InputError, match="it is there already"):
        write(tmp_path / "model")
    assert names(tmp_path) == ["model", "model/own"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "far")
    write(tmp_path / "model")
    assert (tmp_path / "model").is_symlink()
    assert names(tmp_path / "far") == ["a", "last"]


def test_one_process_writes_it(tmp_path):
    with (
        hold_folder(tmp_path / "model"),
        pytest.raises(InputError, match=r"model: process \d+ on .* · fix: wait until it is done, or name another"),
        hold_folder(tmp_path / "model"),
    ):
        pass
    assert names(tmp_path) == []


def inside(folder, monkeypatch):
    """Make a folder one that cannot be replaced, as a mounted disk."""
    folder.mkdir()
    mounted = str(folder.resolve())
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == mounted)


def test_a_mounted_disk_is_filled_in_place(tmp_path, monkeypatch):
    inside(tmp_path / "disk", monkeypatch)
    with hold_folder(tmp_path / "disk"):
        check_new(tmp_path / "disk")
        write(tmp_path / "disk")
    assert names(tmp_path) == ["disk", "disk/a", "disk/last"]


def test_the_last_file_is_moved_last_and_an_error_takes_all_back(tmp_path, monkeypatch):
    inside(tmp_path / "disk", monkeypatch)
    moved, rename = [], Path.rename

    def fails(path, target):
        moved.append(path.name)
        if path.name == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(InputError, match="no space left"):
        write(tmp_path / "disk", last="a")
    assert moved == ["last", "a"]
    assert names(tmp_path) == ["disk"]


def test_a_real_mounted_disk(tmp_path):
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(tmp_path / "disk")]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with (
            pytest.raises(InputError, match=r"disk: no space left on the device: 40\.0 KiB free"),
            whole_folder(tmp_path / "disk") as partial,
        ):
            (partial / "a").write_bytes(bytes(100_000))
        write(tmp_path / "disk")
        assert names(tmp_path / "disk") == ["a", "last"]
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)

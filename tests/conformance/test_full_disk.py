"""A disk that is full at any moment of a checkpoint leaves the last whole one usable, and no half one."""

import errno
import os
import shutil
import subprocess

import pytest

import stops
import toys
from side4video.core.errors import Side4VideoError
from side4video.engine import checkpoint as checkpoints
from side4video.engine.checkpoint import CheckpointError, checkpoints_in, keep_checkpoint, read_state, save_checkpoint
from side4video.engine.preemption import StopRequest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if not mounted or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place, *, but):
    """Fill a disk but for so many bytes."""
    size = os.statvfs(place)
    (place / "ballast").write_bytes(b"\0" * max(0, size.f_bavail * size.f_frsize - but))


@pytest.mark.parametrize("room", [0, 4096, 40_960, 200_000])
def test_a_full_disk(small_disk, room):
    student = toys.make_student("a", toys.METHODS["side4video"])
    first = save_checkpoint(small_disk / "checkpoint", {"a": student}, {"next_step": 1})
    size = sum(path.stat().st_size for path in first.rglob("*") if path.is_file())
    assert room < size < 1_000_000
    kept = keep_checkpoint(first, small_disk / "kept", step=1, max_checkpoints=2)
    fill(small_disk, but=room)
    with pytest.raises(CheckpointError, match=r"cannot be written.*no space left.* free · fix: make room"):
        save_checkpoint(small_disk / "checkpoint", {"a": student}, {"next_step": 2})
    with pytest.raises(CheckpointError, match="no space left"):
        keep_checkpoint(first, small_disk / "kept", step=2, max_checkpoints=2)
    assert read_state(small_disk / "checkpoint")["next_step"] == 1
    assert checkpoints_in(small_disk / "kept") == [kept]
    assert {path.name for path in small_disk.iterdir()} == {"checkpoint", "kept", "ballast"}


class FullDisk:
    """Writing fails from the n-th file on."""

    def __init__(self, monkeypatch, after):
        self.left = after
        for name in ("save_file", "_write_json"):
            monkeypatch.setattr(checkpoints, name, self.counting(getattr(checkpoints, name)))

    def counting(self, write):
        def counted(*arguments):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*arguments)

        return counted


@pytest.mark.parametrize("after", range(5))
def test_between_epochs_the_run_goes_on_and_says_so(after, tmp_path, monkeypatch):
    """A checkpoint has four files here, and each epoch two more of its best weights."""
    one = stops.Stopped(tmp_path / "one")
    disk = FullDisk(monkeypatch, 10_000)

    def stop_request():
        return {2: StopRequest.SAVE}

    save = checkpoints.save_checkpoint

    def fails_at_step_3(folder, students, state, **options):
        disk.left = after if state["next_step"] == 3 else 10_000
        try:
            return save(folder, students, state, **options)
        finally:
            disk.left = 10_000

    monkeypatch.setattr("side4video.engine.epoch_callback.save_checkpoint", fails_at_step_3)
    assert one.go(stop_request())
    whole = stops.Stopped(tmp_path / "whole")
    assert whole.go()
    assert one.history == whole.history
    assert len(one.notes) == (1 if after < 4 else 0)
    if after < 4:
        assert one.notes[0].startswith("no checkpoint at step 3: ")


def test_at_the_end_of_an_epoch_it_ends_and_goes_on_later(tmp_path, monkeypatch):
    one = stops.Stopped(tmp_path / "one")
    with monkeypatch.context() as patch:
        save = checkpoints.save_checkpoint

        def fails(folder, students, state, **options):
            if state["next_step"] == stops.STEPS:
                FullDisk(patch, 1)
            return save(folder, students, state, **options)

        patch.setattr("side4video.engine.epoch_callback.save_checkpoint", fails)
        with pytest.raises(Side4VideoError, match="cannot be written") as error:
            one.go()
        assert "\n" not in str(error.value)
    assert [read_state(each)["next_step"] for each in checkpoints_in(tmp_path / "one" / "kept")] == [5]
    assert one.go()
    whole = stops.Stopped(tmp_path / "whole")
    assert whole.go()
    assert one.history == whole.history


def test_twin_that_writes_in_place(tmp_path, monkeypatch):
    one, other = (toys.make_student("a", toys.METHODS["linear"], seed=seed) for seed in (0, 1))
    save_checkpoint(tmp_path / "checkpoint", {"a": one}, {"next_step": 1})
    FullDisk(monkeypatch, 1)
    with pytest.raises(OSError, match="No space"):
        checkpoints._write(tmp_path / "checkpoint", {"a": other}, {"next_step": 2}, None)
    monkeypatch.undo()
    with pytest.raises(checkpoints.CorruptedCheckpointError):
        read_state(tmp_path / "checkpoint")

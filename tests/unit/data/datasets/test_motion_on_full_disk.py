"""A generated set is whole or absent on a full disk, and the same command goes on."""

import errno
import os
import re
from pathlib import Path

import pytest

from side4video.core.errors import InputError
from side4video.data.datasets import MotionSpec

SMALL = {"train_clips": 10, "test_clips": 10, "frames": 4, "size": 32}


@pytest.mark.parametrize("after", [0, 7, 19])
def test_a_full_disk_leaves_nothing(after, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    spec, left, write = MotionSpec(**SMALL), after, Path.write_bytes

    def limited(path, content):
        nonlocal left
        left -= 1
        if left < 0:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", limited)
        with pytest.raises(
            InputError, match=rf"^{re.escape(str(spec.folder()))}: no space left on the device: .* free"
        ):
            spec.prepare()
    assert [path.name for path in (tmp_path / "data").iterdir() if path.suffix != ".lock"] == []
    assert len(spec.clips("train")) == 10
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [spec.folder().name]


def test_a_full_disk_at_the_table_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    spec = MotionSpec(**SMALL)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("side4video.data.datasets.motion.csv.writer", full)
        with pytest.raises(InputError, match="no space left"):
            spec.prepare()
    assert not spec.is_made()
    assert not spec.folder().exists()


def test_a_set_of_a_killed_process_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    spec = MotionSpec(**SMALL)
    left = spec.folder().with_name(f".{spec.folder().name}.partial")
    (left / "train").mkdir(parents=True)
    (left / "train" / "00000-left.mp4").write_bytes(b"cut")
    spec.prepare()
    assert spec.is_made()
    assert not left.exists()

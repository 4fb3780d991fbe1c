"""Ray Train's list of a run's checkpoints may be damaged; the folders then speak for themselves."""

import errno
import json
from types import SimpleNamespace

import pytest

from side4video.core.errors import Side4VideoError
from side4video.distributed import storage
from side4video.distributed.storage import SNAPSHOT, recover_storage, report_to_ray
from side4video.engine.epoch_callback import Report

NAMES = ("checkpoint_000000000005_aa", "checkpoint_000000000010_00")


@pytest.fixture
def place(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
    write(tmp_path, json.dumps({"checkpoint_results": [{"checkpoint_dir_name": name} for name in NAMES]}))
    return tmp_path


def write(place, text):
    (place / SNAPSHOT).write_text(text)


def test_a_whole_list_is_left_alone(place):
    assert recover_storage(str(place)) == []
    assert (place / SNAPSHOT).exists()


def test_there_may_be_none(tmp_path):
    assert recover_storage(str(tmp_path / "new")) == []
    assert recover_storage("s3://bucket/run") == []


@pytest.mark.parametrize("text", ["", '{"checkpoint_res', "[]", '{"checkpoint_results": 3}'])
def test_half_a_list_is_set_aside(place, text):
    write(place, text)
    assert [folder.name for folder in recover_storage(str(place))] == list(reversed(NAMES))
    assert not (place / SNAPSHOT).exists()
    assert len(list(place.glob("*.damaged-*"))) == 1


def test_a_list_with_a_folder_that_is_gone_is_set_aside(place):
    (place / NAMES[1]).rmdir()
    assert [folder.name for folder in recover_storage(str(place))] == [NAMES[0]]


def report(tmp_path):
    return Report(0, 5, False, {"a": []}, {}, tmp_path)


def test_a_full_storage_is_one_line_and_holds_no_half_checkpoint(place, monkeypatch):
    def full(metrics, checkpoint, checkpoint_dir_name):
        (place / checkpoint_dir_name).mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    fake = SimpleNamespace(report=full)
    monkeypatch.setattr(storage, "ray", SimpleNamespace(train=fake))
    with pytest.raises(Side4VideoError, match=r"checkpoint cannot be written.*no space left.*fix: make room"):
        report_to_ray(report(place), str(place))
    assert {each.name for each in place.iterdir()} == {SNAPSHOT, *NAMES}


def test_other_failures_stay_what_they_are(place, monkeypatch):
    def fails(metrics, checkpoint, checkpoint_dir_name):
        raise OSError(errno.EIO, "a cable is loose")

    monkeypatch.setattr(storage, "ray", SimpleNamespace(train=SimpleNamespace(report=fails)))
    with pytest.raises(OSError, match="cable"):
        report_to_ray(report(place), str(place))

"""Damage to any byte of a checkpoint is found, and the one before is gone on from."""

import shutil

import pytest

import toys
from side4video.core.errors import InputError
from side4video.engine import checkpoint as checkpoints
from side4video.engine.checkpoint import CorruptedCheckpointError, checkpoints_in, keep_checkpoint, read_state
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import checkpoint_source, newest_valid

FILES = ("checkpoint.json", "a/student.json", "a/weights.safetensors", "a/optimizer.safetensors")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    student = toys.make_student("a", toys.METHODS["linear"])
    return checkpoints.save_checkpoint(folder / "checkpoint", {"a": student}, {"next_step": 3, "note": "é", "x": 0.1})


@pytest.fixture
def whole(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoint")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_last(path):
    flip(path, -3)


def flip_middle(path):
    flip(path, path.stat().st_size // 2)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def remove(path):
    path.unlink()


DAMAGES = [truncate, flip_last, flip_middle, remove, lambda path: path.write_bytes(b"")]


def test_a_whole_one_is_read(whole):
    assert read_state(whole)["next_step"] == 3


@pytest.mark.parametrize("damage", DAMAGES, ids=["truncated", "last", "middle", "missing", "empty"])
@pytest.mark.parametrize("file", FILES)
def test_damage_is_found_and_named(whole, file, damage):
    before = (whole / file).read_bytes()
    damage(whole / file)
    if file == "checkpoint.json" and (whole / file).exists() and (whole / file).read_bytes().strip() == before.strip():
        return  # the newline at its end says nothing
    with pytest.raises(CorruptedCheckpointError, match=file.rpartition("/")[2]):
        read_state(whole)


def test_every_single_byte_of_the_document_counts(whole):
    file = whole / "checkpoint.json"
    content = file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content)
        flip(file, place)
        if file.read_bytes().split() == content.split():
            continue  # white space
        with pytest.raises(InputError):
            read_state(whole)


def test_twin_without_checksums_reads_it(whole, monkeypatch):
    monkeypatch.setattr(checkpoints, "corrupted_files", lambda folder, files: [])
    flip(whole / "a/weights.safetensors", -3)
    assert read_state(whole)["next_step"] == 3


def test_a_checkpoint_from_before_checksums_is_read(tmp_path):
    (tmp_path / "checkpoint.json").write_text('{"format": 1, "next_step": 7}')
    assert read_state(tmp_path)["next_step"] == 7


def test_the_newest_stay_and_the_one_before_steps_in(whole, tmp_path):
    for step in (1, 2, 10):
        keep_checkpoint(whole, tmp_path / "kept", step=step, max_checkpoints=2)
    folders = checkpoints_in(tmp_path / "kept")
    assert [folder.name[-3:] for folder in folders] == ["010", "002"]
    flip(folders[0] / "a/weights.safetensors", -3)
    found, state, notes = newest_valid([checkpoint_source(each) for each in folders], ProcessGroup())
    assert (found, state["next_step"]) == (folders[1], 3)
    assert len(notes) == 1
    assert str(folders[0]) in notes[0]
    assert "weights.safetensors has other bytes" in notes[0]


def test_if_none_is_whole_each_is_named(whole, tmp_path):
    for step in (1, 2):
        keep_checkpoint(whole, tmp_path / "kept", step=step, max_checkpoints=2)
    folders = checkpoints_in(tmp_path / "kept")
    truncate(folders[0] / "a/weights.safetensors")
    remove(folders[1] / "a/optimizer.safetensors")
    with pytest.raises(InputError, match=r"none is whole: .*weights\.safetensors has .*optimizer\.safetensors is mis"):
        newest_valid([checkpoint_source(each) for each in folders], ProcessGroup())


class AnotherWorker(ProcessGroup):
    """A worker beside whom another one cannot read the newest."""

    def gather(self, value):
        self.asked.append(value)
        return [value, "a/weights.safetensors is missing" if len(self.asked) == 1 else ""]


def test_all_workers_go_on_from_the_same_one(whole, tmp_path):
    for step in (1, 2):
        keep_checkpoint(whole, tmp_path / "kept", step=step, max_checkpoints=2)
    folders = checkpoints_in(tmp_path / "kept")
    asked = []
    process = type("Beside", (), {"gather": lambda self, value: AnotherWorker.gather(self, value), "asked": asked})()
    assert newest_valid([checkpoint_source(each) for each in folders], process)[0] == folders[1]

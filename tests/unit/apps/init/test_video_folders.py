"""Folders of videos: what they are taken for, and the one sentence where they are nothing."""

import errno
import os
from pathlib import Path

import pytest

from own_videos import class_folders, put
from side4video.apps.init import video_folders
from side4video.apps.init.found_data import read_dataset
from side4video.apps.init.source import find_data
from side4video.apps.init.video_folders import GROUP_PATTERNS, group_pattern
from side4video.core.errors import InputError

EMPTY = b""


def refusal(source, **options) -> str:
    with pytest.raises(InputError) as found:
        find_data(str(source), **options)
    text = str(found.value)
    assert "\n" not in text
    assert found.value.allowed or found.value.fix
    return text


def test_class_folders(tmp_path):
    found = find_data(str(class_folders(tmp_path, {"jump": 2, "wave": 3}, content=EMPTY)))
    assert found.dataset == {"kind": "folder", "root": str(tmp_path)}
    assert (found.task, found.is_divided, found.groups) == ("recognition", False, "")


@pytest.mark.parametrize(
    ("names", "split_by"),
    [
        (("train", "test"), None),
        (("train", "val", "test"), None),
        (("train", "val"), {"kind": "folders", "train": "train", "test": "val"}),
        (("training", "validation"), {"kind": "folders", "train": "training", "test": "validation"}),
        (("Train", "Test"), {"kind": "folders", "train": "Train", "test": "Test"}),
        (
            ("training", "valid", "testing"),
            {"kind": "folders", "train": "training", "val": "valid", "test": "testing"},
        ),
    ],
)
def test_folders_of_splits(tmp_path, names, split_by):
    for name in names:
        class_folders(tmp_path / name, {"jump": 1, "wave": 1}, content=EMPTY)
    found = find_data(str(tmp_path))
    assert found.is_divided
    assert found.dataset.get("split_by") == split_by
    wanted = {"train", "test"} | ({"val"} if len(names) == 3 else set())
    assert set(read_dataset(found.dataset).splits()) == wanted
    assert any("used as the test split" in note for note in found.notes) == (
        len(names) == 2 and names[1].startswith("val")
    )


def test_a_folder_for_training_alone_is_divided(tmp_path):
    class_folders(tmp_path / "train", {"jump": 2, "wave": 2}, content=EMPTY)
    found = find_data(str(tmp_path))
    assert found.dataset["root"] == str(tmp_path / "train")
    assert not found.is_divided
    assert "none for test" in found.notes[0]


def test_one_class(tmp_path):
    assert "one class, 'jump'" in refusal(class_folders(tmp_path, {"jump": 3}, content=EMPTY))


def test_one_class_below_train_and_test(tmp_path):
    for name in ("train", "test"):
        class_folders(tmp_path / name, {"jump": 3}, content=EMPTY)
    assert "one class, 'jump'" in refusal(tmp_path)


def test_an_empty_folder(tmp_path):
    assert "the folder is empty" in refusal(tmp_path)


def test_a_folder_without_videos_names_what_is_in_it(tmp_path):
    (tmp_path / "notes.pdf").touch()
    assert "notes.pdf" in refusal(tmp_path)


def test_videos_without_labels(tmp_path):
    put(tmp_path / "a.mp4", EMPTY), put(tmp_path / "b.MKV", EMPTY)
    text = refusal(tmp_path)
    assert "2 videos and no labels" in text
    assert "path,label" in text


def test_a_class_without_videos(tmp_path):
    class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: no video in it" in refusal(tmp_path)


def test_classes_that_are_too_deep(tmp_path):
    class_folders(tmp_path / "sport", {"jump": 1, "run": 1}, content=EMPTY)
    class_folders(tmp_path, {"wave": 1}, content=EMPTY)
    assert "deeper" in refusal(tmp_path)


def test_missing_and_dangling_paths(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "a link to nothing" in refusal(tmp_path / "link")


def test_links_are_followed_and_links_to_nothing_are_counted(tmp_path):
    real = class_folders(tmp_path / "real", {"jump": 2}, content=EMPTY) / "jump"
    root = class_folders(tmp_path / "clips", {"wave": 1}, content=EMPTY)
    (root / "jump").symlink_to(real, target_is_directory=True)
    (root / "wave" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = find_data(str(root))
    assert len(read_dataset({**found.dataset, "split_by": {"kind": "random"}}).classes()) == 2
    assert found.missing_share == 1 / 4


def test_a_link_to_a_folder_above_is_a_sentence(tmp_path):
    class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert "a link to a folder that it is in" in refusal(tmp_path)


def test_a_loop_inside_of_a_class_is_left_out(tmp_path):
    class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)
    (tmp_path / "jump" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "jump" / "itself").symlink_to(tmp_path / "jump" / "itself")
    assert find_data(str(tmp_path)).dataset["kind"] == "folder"


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "wave":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(video_folders.os, "scandir", refuse)
    assert f"{tmp_path / 'wave'}: the folder cannot be read: Permission denied" in refusal(tmp_path)


def test_hidden_files_and_folders_are_not_looked_at(tmp_path):
    class_folders(tmp_path, {"jump": 1, "wave": 1, ".cache": 1}, content=EMPTY)
    assert read_dataset(find_data(str(tmp_path)).dataset | {"split_by": {"kind": "random"}}).classes() == (
        "jump",
        "wave",
    )


def test_captions_are_not_in_class_folders(tmp_path):
    class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)
    assert "--task recognition" in refusal(tmp_path, task="retrieval")


def test_videos_beside_the_classes_are_told(tmp_path):
    put(class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY) / "loose.mp4", EMPTY)
    assert "1 videos beside the class folders" in find_data(str(tmp_path)).notes[0]


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("v_Jump_g{:02d}_c01.avi", GROUP_PATTERNS[0]),
        ("person{:02d}_boxing_d1.avi", GROUP_PATTERNS[1]),
        ("Subject_{}__Fall.mp4", GROUP_PATTERNS[1]),
        ("S001C001P{:03d}R001A001.avi", GROUP_PATTERNS[2]),
        ("clip{:03d}.mp4", ""),
        ("personal{:03d}.mp4", ""),
    ],
)
def test_groups_in_names(form, pattern):
    names = [form.format(number % 5) for number in range(20)]
    assert group_pattern(names) == pattern


def test_a_few_groups_or_one_for_each_clip_are_none():
    assert group_pattern([f"v_g{number % 3}_c.avi" for number in range(20)]) == ""
    assert group_pattern([f"v_g{number}_c.avi" for number in range(20)]) == ""
    assert group_pattern([f"v_g{number % 5}_c.avi" if number % 2 else f"{number}.avi" for number in range(20)]) == ""


@pytest.mark.parametrize("name", ["two words", "a: b", "it's #1", '"q"', "-leading", "видео 日本"])
def test_any_name_of_a_folder(tmp_path, name):
    root = class_folders(tmp_path / name, {"-jump: high": 1, "'wave'": 1}, content=EMPTY)
    assert find_data(str(root)).dataset["root"] == str(root)


def test_a_name_that_would_be_a_variable(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "${CLIPS}", {"jump": 1, "wave": 1}, content=EMPTY)
    monkeypatch.chdir(root)
    assert "environment variable" in refusal(".")


def test_a_variable_stays_in_the_document(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_CLIPS", str(class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY)))
    assert find_data("${MY_CLIPS}").dataset["root"] == "${MY_CLIPS}"
    monkeypatch.delenv("MY_CLIPS")
    assert "MY_CLIPS" in refusal("${MY_CLIPS}")


def test_an_address_is_a_sentence():
    assert "only folders of this machine" in refusal("s3://bucket/clips")

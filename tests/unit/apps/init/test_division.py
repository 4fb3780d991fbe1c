"""A split is chosen where there is none, with validation where there are enough videos, and it is told."""

import pytest

from own_videos import class_folders, put, write_csv
from side4video.apps.init.division import divide
from side4video.apps.init.source import find_data
from side4video.core.errors import InputError

EMPTY = b""


def divided(source, **settings):
    found = find_data(str(source))
    return divide(found, {**found.dataset, **settings})


def labels_of(data, split):
    return {data.classes[clip.label] for clip in data.clips[split]}


def test_enough_videos_have_a_validation_split(tmp_path):
    data = divided(class_folders(tmp_path, {"jump": 10, "wave": 12}, content=EMPTY))
    assert data.dataset["split_by"] == {"kind": "random", "test_fraction": 0.2, "val_fraction": 0.1}
    assert data.counts == {"train": 15, "val": 2, "test": 4} or sum(data.counts.values()) == 22
    assert all(labels_of(data, split) == {"jump", "wave"} for split in ("train", "val", "test"))
    assert not data.notes
    assert "at random, class by class" in data.text


def test_few_videos_have_none_and_it_is_told(tmp_path):
    data = divided(class_folders(tmp_path, {"jump": 4, "wave": 5}, content=EMPTY))
    assert data.dataset["split_by"] == {"kind": "random", "test_fraction": 0.2}
    assert list(data.counts) == ["train", "test"]
    assert "no validation split" in data.notes[0]


def test_clips_of_a_group_stay_together(tmp_path):
    root = tmp_path / "clips"
    for name in ("jump", "wave"):
        for number in range(24):
            put(root / name / f"v_{name}_g{number % 8:02d}_c{number // 8}.avi", EMPTY)
    data = divided(root)
    assert data.dataset["split_by"]["kind"] == "group"
    assert data.dataset["group_pattern"] == "_(g[0-9]+)_"
    groups = {split: {clip.group for clip in clips} for split, clips in data.clips.items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["val"]
    assert not groups["val"] & groups["test"]


def test_groups_that_would_take_a_class_out_of_training_are_not_used(tmp_path):
    rows = []
    for number in range(24):
        put(tmp_path / f"{number}.mp4", EMPTY)
        rows.append([f"{number}.mp4", "rare" if number < 4 else f"class {number % 2}", f"film {min(number // 4, 4)}"])
    data = divided(write_csv(tmp_path / "a.csv", [["path", "label", "group"], *rows]))
    assert data.dataset["split_by"]["kind"] == "random"
    assert labels_of(data, "train") == labels_of(data, "test") == set(data.classes)


def test_a_class_with_one_video(tmp_path):
    data = divided(class_folders(tmp_path, {"jump": 12, "wave": 12, "rare": 1}, content=EMPTY))
    assert "rare" in labels_of(data, "train")
    assert "1 class has one video only" in data.notes[0]


def test_two_videos_are_too_few(tmp_path):
    with pytest.raises(InputError, match="too few videos"):
        divided(class_folders(tmp_path, {"jump": 1, "wave": 1}, content=EMPTY))


def test_one_label_in_a_list(tmp_path):
    rows = [[put(tmp_path / f"{number}.mp4", EMPTY).name, "jump"] for number in range(6)]
    with pytest.raises(InputError, match="one class, 'jump'"):
        divided(write_csv(tmp_path / "a.csv", [["path", "label"], *rows]))


def test_captions(tmp_path):
    rows = [[put(tmp_path / f"{number}.mp4", EMPTY).name, f"text {number}"] for number in range(60)]
    many = divided(write_csv(tmp_path / "a.csv", [["path", "caption"], *rows]))
    few = divided(write_csv(tmp_path / "a.csv", [["path", "caption"], *rows[:20]]))
    assert many.counts == {"train": 42, "val": 6, "test": 12}
    assert few.counts == {"train": 16, "test": 4}
    assert many.classes == ()


def test_what_the_user_says_of_the_split_is_kept(tmp_path):
    root = class_folders(tmp_path, {"jump": 12, "wave": 12}, content=EMPTY)
    data = divided(root, split_by={"kind": "random", "test_fraction": 0.5})
    assert data.counts == {"train": 12, "test": 12}


def test_a_split_of_the_source_is_kept(tmp_path):
    for name in ("train", "test"):
        class_folders(tmp_path / name, {"jump": 3, "wave": 3}, content=EMPTY)
    data = divided(tmp_path)
    assert "split_by" not in data.dataset
    assert data.counts == {"train": 6, "test": 6}


def test_left_and_right_are_noticed(tmp_path):
    data = divided(class_folders(tmp_path / "a", {"turn left": 3, "wave": 3}, content=EMPTY))
    both = divided(class_folders(tmp_path / "b", {"turn left": 3, "turn right": 3}, content=EMPTY))
    assert (data.can_flip, both.can_flip) == (False, True)

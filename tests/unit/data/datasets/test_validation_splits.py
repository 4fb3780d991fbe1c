"""The validation split of each data set that can have one, and clips that are divided at random."""

import json
from collections import Counter

import pytest

from side4video.core.errors import InputError
from side4video.data.annotations.splits import RandomSplitSpec, split_at_random
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip
from side4video.data.datasets import CaptionsSpec, FolderSpec, ListSpec
from side4video.spec.load import SpecError
from tiny import tiny


def clips(counts, root="/clips"):
    return [Clip(f"{root}/{label}/{n}.mp4", label) for label, count in counts.items() for n in range(count)]


def sizes(splits, given):
    return Counter((clip.label, split) for clip, split in zip(given, splits, strict=True))


@pytest.mark.parametrize(("test", "val"), [(0.2, 0.0), (0.2, 0.1), (0.3, 0.3), (0.01, 0.01)])
def test_each_class_has_its_share(test, val):
    given = clips({0: 40, 1: 10, 2: 3})
    found = sizes(split_at_random(given, RandomSplitSpec(test_fraction=test, val_fraction=val)), given)
    for label, count in ((0, 40), (1, 10), (2, 3)):
        assert found[label, "test"] == max(1, round(test * count))
        assert found[label, "val"] == (max(1, round(val * count)) if val else 0)
        assert found[label, "train"] >= 1


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1))])
def test_training_comes_first_then_test_then_validation(count, expected):
    given = clips({0: count})
    found = sizes(split_at_random(given, RandomSplitSpec(test_fraction=0.4, val_fraction=0.4)), given)
    assert tuple(found[0, split] for split in SPLITS) == expected


def test_spans_of_a_file_stay_together_and_the_root_does_not_matter():
    given = [
        Clip(f"/a/{n}.mp4", n % 2, start_seconds=start, end_seconds=start + 1) for n in range(20) for start in (0, 5)
    ]
    moved = [Clip(clip.path.replace("/a/", "/elsewhere/b/"), clip.label) for clip in given]
    spec = RandomSplitSpec(test_fraction=0.3, val_fraction=0.2)
    splits = split_at_random(given, spec)
    assert splits[0::2] == splits[1::2]
    assert splits == split_at_random(moved, spec)
    assert splits != split_at_random(given, RandomSplitSpec(test_fraction=0.3, val_fraction=0.2, seed=1))
    backwards = split_at_random(given[::-1], spec)
    assert backwards[::-1] == splits


def test_the_test_side_does_not_depend_on_validation(tmp_path):
    rows = ["path,label,group", *(f"{n}.mp4,{n % 3},g{n // 4}" for n in range(120))]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    made = [
        ListSpec(annotations=str(tmp_path / "list.csv"), split_by={"kind": "group", "val_fraction": fraction})
        for fraction in (0, 0.2)
    ]
    assert made[0].splits() == TRAIN_AND_TEST
    assert made[1].splits() == SPLITS
    assert made[0].clips("test") == made[1].clips("test")
    groups = [{clip.group for clip in made[1].clips(split)} for split in SPLITS]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]
    assert len(made[1].clips("val")) == pytest.approx(24, abs=4)


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_a_column_names_validation_clips(tmp_path, name):
    (tmp_path / "list.csv").write_text(f"path,label,split\na.mp4,x,train\nb.mp4,y,{name}\nc.mp4,x,test\n")
    spec = ListSpec(annotations=str(tmp_path / "list.csv"))
    assert spec.splits() == SPLITS
    assert [clip.path[-5:] for split in SPLITS for clip in spec.clips(split)] == ["a.mp4", "b.mp4", "c.mp4"]


def test_a_third_list_holds_validation_clips(tmp_path):
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{name}.mp4,x\n")
    split_by = {"kind": "file", "test_annotations": str(tmp_path / "test.csv")}
    without = ListSpec(annotations=str(tmp_path / "train.csv"), split_by=split_by)
    with_it = ListSpec(
        annotations=str(tmp_path / "train.csv"), split_by={**split_by, "val_annotations": str(tmp_path / "val.csv")}
    )
    assert without.splits() == TRAIN_AND_TEST
    assert [clip.path.rpartition("/")[2] for clip in with_it.clips("val")] == ["val.mp4"]
    assert without.fingerprint() != with_it.fingerprint()


def test_captions_have_a_validation_split(tmp_path):
    entries = [{"path": f"{n}.mp4", "caption": "a thing", "split": ("train", "val", "test")[n % 3]} for n in range(9)]
    for entry in entries:
        (tmp_path / entry["path"]).touch()
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    spec = CaptionsSpec(annotations=str(tmp_path / "captions.json"))
    assert spec.splits() == SPLITS
    assert [len(spec.clips(split)) for split in SPLITS] == [3, 3, 3]


def make_folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / f"{len(name)}.mp4").touch()
    return root


def test_a_folder_of_validation_clips_is_found(tmp_path):
    root = make_folders(tmp_path, "train/a", "train/b", "val/a", "test/b")
    spec = FolderSpec(root=str(root))
    assert spec.splits() == SPLITS
    assert len(spec.clips("val")) == 1
    assert FolderSpec(root=str(root), split_by={"kind": "folders", "val": "none"}).splits() == TRAIN_AND_TEST
    as_test = FolderSpec(root=str(root), split_by={"kind": "folders", "test": "val"})
    assert as_test.splits() == TRAIN_AND_TEST  # one folder is never both
    assert as_test.clips("test") == spec.clips("val")


def test_folders_without_splits_are_divided(tmp_path):
    for label in "ab":
        for n in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{n}.mp4").touch()
    spec = FolderSpec(root=str(tmp_path), split_by={"kind": "random", "val_fraction": 0.2})
    assert [len(spec.clips(split)) for split in spec.splits()] == [12, 4, 4]
    with pytest.raises(
        InputError,
        match=r"train: the folder cannot be read: there is no such folder; .* has a, b .*split_by: \{kind: random\}",
    ):
        FolderSpec(root=str(tmp_path)).check()


def test_nothing_left_for_training_is_refused():
    data = {"dataset": {"kind": "folder", "root": "x", "split_by": {"kind": "random", "val_fraction": 0.9}}}
    with pytest.raises(SpecError, match=r"val_fraction: 0.9, and test_fraction is 0.2: nothing is left for training"):
        tiny(data=data)


def test_a_document_from_before_keeps_its_digest():
    """The new fields count once they are set, and where they change a result."""

    def digest(split_by, **evaluation):
        dataset = {"kind": "list", "annotations": "list.csv", "split_by": split_by}
        return tiny(data={"dataset": dataset}, evaluation=evaluation).digest()

    group = {"kind": "group", "test_fraction": 0.3}
    assert digest(group) == "179d1ed9d13b2947eee5aebea1d2541e0d8c1d6a8f05232a2025b078de530887"
    assert digest(group) == digest({**group, "val_fraction": 0.0}) != digest({**group, "val_fraction": 0.1})
    assert digest(group, choose_epoch="best") == digest(group, choose_epoch="auto") == digest(group)
    assert digest(group, choose_epoch="last") != digest(group)
    assert digest(group, early_stopping={"patience": 3}) != digest(group)

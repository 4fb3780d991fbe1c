"""Halves of the classes and few shots: nested, drawn from the seed, the same for any folder, refused where wrong."""

import csv
from dataclasses import replace

import pytest

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.datasets.list import ListSpec
from side4video.data.datasets.motion import MotionSpec
from side4video.data.selection import SelectedClips, class_count
from side4video.data.spec import DataSpec, clip_counts
from side4video.spec.load import parse_experiment
from tiny import DOCUMENT, merged

NAMES = ("run", "walk", "swim", "left turn", "right turn")
COUNTS = (3, 6, 2, 6, 5)


def listed(tmp_path, counts=COUNTS, name="list.csv", folder="videos"):
    """A list data set with so many training clips a class, and two test clips of each."""
    rows = [
        (f"{split}/{label} {number}.mp4", label, split)
        for label, count in zip(NAMES, counts, strict=True)
        for split, some in (("train", count), ("test", 2))
        for number in range(some)
    ]
    path = tmp_path / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return DataSpec.model_validate(
        {
            "dataset": {
                "kind": "list",
                "annotations": str(path),
                "root": str(tmp_path / folder),
                "class_names": {"kind": "given", "names": NAMES},
            }
        }
    )


def selected(data, **changes):
    return data.model_copy(update=changes).listed


def names_of(listed, split="train"):
    return {clip.path.rpartition("videos/")[2] for clip in listed.clips(split)}


def test_base_is_the_half_with_more_training_clips(tmp_path):
    data = listed(tmp_path)
    base, novel = selected(data, classes="base"), selected(data, classes="novel")
    assert base.classes() == ("walk", "left turn", "right turn")
    assert novel.classes() == ("run", "swim")
    for part in (base, novel):
        for split in ("train", "test"):
            clips = part.clips(split)
            assert {part.classes()[clip.label] for clip in clips} == set(part.classes())
            assert all(f"/{part.classes()[clip.label]} " in clip.path for clip in clips)
    assert len(base.clips("train")) + len(novel.clips("train")) == sum(COUNTS)
    assert class_count(5, "base") == 3
    assert class_count(5, "novel") == 2


def test_a_draw_of_few_shots_is_part_of_a_draw_of_more(tmp_path):
    data = listed(tmp_path, (8, 8, 8, 8, 8))
    draws = {shots: names_of(selected(data, shots=shots)) for shots in (1, 2, 4, 8)}
    assert [len(each) for each in draws.values()] == [5, 10, 20, 40]
    assert draws[1] < draws[2] < draws[4] < draws[8]
    assert names_of(selected(data, shots=2, seed=1)) != draws[2]
    # A draw of the base classes holds the same clips of them.
    base = selected(data, shots=2, classes="base")
    assert names_of(base) == {name for name in draws[2] if name.partition("/")[2].rpartition(" ")[0] in base.classes()}


def test_a_draw_does_not_depend_on_the_folder(tmp_path):
    here, there = listed(tmp_path, folder="a/videos"), listed(tmp_path, name="other.csv", folder="b/c/videos")
    drawn = [
        [clip.path.rpartition("videos/")[2] for clip in selected(each, shots=2).clips("train")]
        for each in (here, there)
    ]
    assert drawn[0] == drawn[1]


def test_the_test_clips_stay(tmp_path):
    data = listed(tmp_path)
    assert selected(data, shots=1).clips("test") == data.dataset.clips("test")


def test_without_a_selection_the_data_set_is_the_same(tmp_path):
    data = listed(tmp_path)
    assert data.listed is data.dataset
    assert data.name_fingerprint("1f3a") == "1f3a"


def test_the_fingerprint_names_the_selection(tmp_path):
    data = listed(tmp_path)
    whole = data.dataset.fingerprint()
    assert selected(data, classes="novel").fingerprint() == f"{whole}+novel"
    named = selected(data, classes="base", shots=2, seed=3).fingerprint()
    assert named == f"{whole}+base, 2 shots, seed 3"
    prints = {selected(data, shots=2, seed=seed).fingerprint() for seed in (0, 1)}
    assert len(prints) == 2


def test_more_shots_than_clips_are_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        selected(listed(tmp_path), shots=3).check()
    assert "data.shots: 3, and the class 'swim' has 2 training clips · allowed: 1 to 2 · fix: set it to 2" in str(
        caught.value
    )
    with pytest.raises(InputError, match="'swim' has 1 training clip · allowed: 1 · fix: set it to 1"):
        selected(listed(tmp_path, (3, 3, 1, 3, 3)), shots=2).check()
    with pytest.raises(InputError, match="'swim' has 2 training clips"):
        selected(listed(tmp_path), shots=3).clips("train")
    # The base classes have enough.
    assert len(selected(listed(tmp_path), shots=3, classes="base").clips("train")) == 9


def test_clips_without_a_class_are_refused():
    class Captions(DatasetSpec):
        kind: str = "captions"

        def classes(self):
            return ("a", "b")

        def clips(self, split):
            return [Clip(f"/{split}.mp4", None, ("words",), origin="list.csv:2")]

    with pytest.raises(InputError, match=r"data\.classes: given, and a clip has no class: list\.csv:2"):
        SelectedClips(Captions(), "base", None, 0).clips("train")
    with pytest.raises(InputError, match=r"data\.shots: given"):
        SelectedClips(Captions(), "all", 1, 0).clips("train")


def test_flips_need_the_mirror_image_among_the_chosen(tmp_path):
    # With equal counts, base is the first three: "left turn" is in it, "right turn" is not.
    data = listed(tmp_path, (4, 4, 4, 4, 4))
    pairs = {"kind": "pairs", "pairs": [["left turn", "right turn"]]}
    mirrored = ListSpec.model_validate({"annotations": "list.csv", "mirror": pairs}).mirror
    dataset = data.dataset.model_copy(update={"mirror": mirrored})
    whole = data.model_copy(update={"dataset": dataset})
    assert selected(whole, classes="novel").flipped_classes() == {0: 1, 1: 0}
    uneven = listed(tmp_path, (1, 1, 1, 4, 3), name="uneven.csv")
    half = uneven.model_copy(update={"dataset": uneven.dataset.model_copy(update={"mirror": mirrored})})
    assert selected(half, classes="base").classes() == ("run", "left turn", "right turn")
    assert selected(half, classes="base").flipped_classes() == {0: 0, 1: 2, 2: 1}
    lone = listed(tmp_path, (3, 4, 4, 5, 1), name="lone.csv")
    alone = lone.model_copy(update={"dataset": lone.dataset.model_copy(update={"mirror": mirrored})})
    assert selected(alone, classes="base").flipped_classes() is None


def test_the_built_in_set_is_counted_without_rendering(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    data = DataSpec.model_validate({"dataset": {"kind": "motion", "train_clips": 40, "test_clips": 20}})
    some = data.model_copy(update={"classes": "novel", "shots": 3})
    assert clip_counts(data) == {"train": 40, "test": 20}
    assert clip_counts(some) == {"train": 15, "test": 10}
    assert not list(tmp_path.iterdir())
    small = MotionSpec(train_clips=20, test_clips=10, frames=4, size=32)
    chosen = SelectedClips(small, "base", 1, 0)
    chosen.prepare()
    assert (
        {split: len(chosen.clips(split)) for split in chosen.splits()}
        == chosen.clip_counts()
        == {"train": 5, "test": 5}
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"shots": 0}, "data.shots: 0 · allowed: a number greater than 0"),
        ({"classes": "old"}, "data.classes: 'old' · allowed: all, base, novel"),
        ({"shots": 2, "train_fraction": 0.5}, "data.train_fraction: 0.5, and shots is 2"),
    ],
)
def test_wrong_fields(data, message):
    with pytest.raises(InputError) as caught:
        parse_experiment(merged(DOCUMENT, {"data": data}))
    assert message in str(caught.value)


def test_a_class_that_occurs_among_several_labels_alone_is_in_no_half(tmp_path):
    rows = [("a.mp4", "x", "x;thing", "train"), ("b.mp4", "y", "y", "train"), ("c.mp4", "x", "thing", "test")]
    path = tmp_path / "tags.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "tags", "split"), *rows])
    dataset = {"kind": "list", "annotations": str(path), "columns": {"labels": "tags"}}
    data = DataSpec.model_validate({"dataset": dataset})
    assert set(data.dataset.classes()) == {"x", "y", "thing"}
    halves = [selected(data, classes=half).classes() for half in ("base", "novel")]
    assert halves == [("x",), ("y",)]
    assert selected(data, shots=1).classes() == ("x", "y")


def test_twin_that_draws_by_position(tmp_path):
    """A draw by the position in the list would change when the list gets one more clip."""
    data, more = listed(tmp_path, (4, 4, 4, 4, 4)), listed(tmp_path, (5, 4, 4, 4, 4), name="more.csv")

    def by_position(spec):
        clips = [clip for clip in spec.dataset.clips("train") if clip.label == 0]
        return [replace(clip, origin="") for clip in reversed(clips)][:2]

    def by_name(spec):
        clips = selected(spec, shots=2).clips("train")
        return [replace(clip, origin="") for clip in clips if clip.label != 0]

    assert by_position(data) != by_position(more)
    assert by_name(data) == by_name(more)

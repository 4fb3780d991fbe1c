"""A folder for each class: what it gives, and what it says of mistakes. And shares of a training set."""

import itertools
import logging
import random
from collections import Counter

import pytest
from pydantic import ValidationError

from caption_files import dataset, touch
from side4video.core.errors import InputError
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip

TWO_FOLDERS = ("train/wave/b.mp4", "train/wave/a.AVI", "train/clap/c.webm", "test/clap/d.mp4")


def make(folder, names=TWO_FOLDERS, **fields):
    for name in names:
        touch(folder, name)
    return dataset({"kind": "folder", "root": str(folder), **fields})


def test_two_folders(tmp_path):
    spec = make(tmp_path)
    assert spec.classes() == ("clap", "wave")
    assert [(clip.path, clip.label) for clip in spec.clips("train")] == [
        (str(tmp_path / "train/clap/c.webm"), 0),
        (str(tmp_path / "train/wave/a.AVI"), 1),
        (str(tmp_path / "train/wave/b.mp4"), 1),
    ]
    assert [(clip.path, clip.label) for clip in spec.clips("test")] == [(str(tmp_path / "test/clap/d.mp4"), 0)]
    spec.check()
    spec.prepare(lambda done, total: None)


def test_folders_of_other_names_and_variables(tmp_path, monkeypatch):
    make(tmp_path, ("a/x/1.mp4", "b/x/2.mp4"))
    monkeypatch.setenv("CLIPS", str(tmp_path))
    spec = dataset({"kind": "folder", "root": "${CLIPS}", "split_by": {"kind": "folders", "train": "b", "test": "a"}})
    assert spec.clips("train")[0].path == str(tmp_path / "b/x/2.mp4")


def test_only_videos_are_clips(tmp_path, caplog):
    others = ("train/wave/notes.txt", "train/wave/.hidden.mp4", "train/.cache/x.mp4", "train/readme.md")
    spec = make(tmp_path, (*TWO_FOLDERS, *others))
    with caplog.at_level(logging.WARNING):
        assert len(spec.clips("train")) == len(spec.clips("train")) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/train: files that are no clips are left out, 1 of them: wave/notes.txt"
    ]
    assert len(make(tmp_path, extensions=[".txt"], split_by={"kind": "folders", "test": "train"}).classes()) == 2


def test_folders_of_frames(tmp_path):
    spec = make(
        tmp_path, ("train/wave/v1/1.jpg", "train/wave/v2/1.jpg", "test/wave/v3/1.jpg"), frame_pattern="{:01d}.jpg"
    )
    assert [clip.path for clip in spec.clips("train")] == [str(tmp_path / f"train/wave/v{n}") for n in (1, 2)]
    assert {clip.frame_pattern for clip in spec.clips("test")} == {"{:01d}.jpg"}


GROUPED = [f"{name}/v_{name}_g{group:02d}_c{n:02d}.avi" for name in ("jump", "run") for group in range(1, 11)
           for n in range(1, 4)]  # fmt: skip


def split_of(folder, names=GROUPED, **fields):
    spec = make(folder, names, **{"split_by": {"kind": "group", "test_fraction": 0.3}, **fields})
    return spec, {split: spec.clips(split) for split in ("train", "test")}


def test_whole_groups_are_held_out(tmp_path):
    spec, clips = split_of(tmp_path, group_pattern="_(g[0-9]+)_")
    assert spec.classes() == ("jump", "run")
    assert len(clips["train"]) + len(clips["test"]) == 60
    assert not {clip.group for clip in clips["train"]} & {clip.group for clip in clips["test"]}
    assert {clip.group for clip in clips["test"]} < {f"g{n:02d}" for n in range(1, 11)}
    assert Counter(clip.label for clip in clips["test"]) == {0: 9, 1: 9}


def test_without_a_pattern_each_clip_stands_alone_and_the_split_does_not_depend_on_the_place(tmp_path):
    _, clips = split_of(tmp_path / "here")
    assert Counter(clip.label for clip in clips["test"]) == {0: 9, 1: 9}
    _, elsewhere = split_of(tmp_path / "there/deeper")
    for split in ("train", "test"):
        ours, theirs = ([clip.path.rpartition("/")[2] for clip in each[split]] for each in (clips, elsewhere))
        assert ours == theirs
    _, other = split_of(tmp_path / "here", split_by={"kind": "group", "test_fraction": 0.3, "seed": 1})
    assert other["test"] != clips["test"]
    groups = {clip.path.split("_g")[1][:2] for clip in clips["test"]}
    assert len(groups) > 6  # torn, unlike with the pattern


def test_the_pattern_looks_at_names_only(tmp_path):
    _, clips = split_of(tmp_path / "_g77_", group_pattern="_g[0-9]+_")
    assert {clip.group for each in clips.values() for clip in each} == {f"_g{n:02d}_" for n in range(1, 11)}
    _, clips = split_of(tmp_path / "class", [f"a_g77_{name}" for name in GROUPED], group_pattern="_g[0-9]+_")
    assert len({clip.group for each in clips.values() for clip in each}) == 10
    names = [*GROUPED, "run/alone.avi", "jump/single.avi"]
    _, clips = split_of(tmp_path / "some", names, group_pattern="_(g[0-9]+)_")
    assert [clip.path.rpartition("/")[2] for clip in clips["train"] if not clip.group] == ["single.avi", "alone.avi"]


def test_the_fingerprint_sees_classes_and_files_and_not_where_the_folder_is(tmp_path):
    prints = []
    for number, names in enumerate([TWO_FOLDERS, TWO_FOLDERS, [name.replace("clap", "snap") for name in TWO_FOLDERS]]):
        prints.append(make(tmp_path / str(number), names).fingerprint())
    (tmp_path / "1/train/wave/b.mp4").write_bytes(b"more")
    prints.append(make(tmp_path / "1").fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_mirror_images(tmp_path):
    sided = ("train/go_left/a.mp4", "train/go_right/a.mp4", "test/go_left/a.mp4")
    assert make(tmp_path / "1", sided).flipped_classes() == {0: 1, 1: 0}
    assert make(tmp_path / "2", sided[:1]).flipped_classes() is None
    assert make(tmp_path / "1", sided, mirror={"kind": "refused"}).flipped_classes() is None


WRONG = {
    "no such folder": ((), {"root": "/no/such"}, r"/no/such: the folder cannot be read: there is no such folder"),
    "no test": (TWO_FOLDERS[:3], {}, r"/test: the folder cannot be read"),
    "no classes": (("train/a.mp4",), {}, r"/train: it has no folders"),
    "empty class": ((*TWO_FOLDERS, "train/jump/x.txt"), {}, r"train/jump: no video \(\.mp4, .* in it"),
    "no folder of frames": (TWO_FOLDERS, {"frame_pattern": "{:05d}.jpg"}, r"train/clap: no folder of frames in it"),
    "unknown class": ((*TWO_FOLDERS, "test/jump/x.mp4"), {}, r"test/jump: no folder for training is called 'jump'"),
    "root is a file": ((), {"root": __file__}, "the folder cannot be read: Not a directory"),
    "no variable": ((), {"root": "${NO_SUCH_VARIABLE}"}, r"data\.dataset\.root: .*NO_SUCH_VARIABLE"),
    "no group": (
        ("x/a.mp4", "x/b.mp4"),
        {"split_by": {"kind": "group"}, "group_pattern": "g[0-9]"},
        "no clip is for test",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_by_its_folder(tmp_path, case):
    names, fields, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        make(tmp_path, names, **fields).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"group_pattern": "("},
        {"extensions": []},
        {"extensions": ["mp4"]},
        {"root": ""},
        {"split_by": {"kind": "column"}},
    ],
)
def test_fields_that_contradict_themselves(fields):
    with pytest.raises(ValidationError):
        dataset({"kind": "folder", "root": "x", **fields})


FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Figure 4 of the paper."""


def uneven():
    """Classes of 1 to 400 clips, mixed."""
    counts = {0: 400, 1: 100, 2: 37, 3: 3, 4: 1}
    clips = [Clip(f"/data/{label}/{n}.mp4", label) for label, count in counts.items() for n in range(count)]
    random.Random(0).shuffle(clips)
    return counts, clips


def nested_and_balanced(subset):
    """Whether shares of a training set grow into each other, and each has its share of each class."""
    counts, clips = uneven()
    shares = [subset(clips, fraction, 0) for fraction in FRACTIONS]
    grow = all(set(small) < set(large) for small, large in itertools.pairwise(shares))
    balanced = all(
        0 <= Counter(clips[index].label for index in share)[label] - count * fraction < 1
        for fraction, share in zip(FRACTIONS, shares, strict=True)
        for label, count in counts.items()
    )
    return grow, balanced


def test_shares_of_uneven_classes_are_nested_and_balanced():
    assert nested_and_balanced(training_subset) == (True, True)
    counts, clips = uneven()
    assert {clips[index].label for index in training_subset(clips, 0.05, 3)} == set(counts)  # each class has a clip


def test_shares_that_are_drawn_anew_or_over_all_classes_are_found_out():
    def anew(clips, fraction, seed):
        return training_subset(clips, fraction, hash(fraction))

    def over_all(clips, fraction, seed):
        order = sorted(range(len(clips)), key=lambda index: clips[index].path)
        return order[: int(len(clips) * fraction)]

    assert nested_and_balanced(anew) == (False, True)
    assert nested_and_balanced(over_all) == (True, False)


def test_shares_depend_on_the_seed_and_not_on_the_order_of_the_list_or_on_missing_files():
    counts, clips = uneven()
    chosen = {clips[index].path for index in training_subset(clips, 0.25, 0)}
    assert {clips[::-1][index].path for index in training_subset(clips[::-1], 0.25, 0)} == chosen
    assert {clips[index].path for index in training_subset(clips, 0.25, 1)} != chosen
    gone = {clip.path for clip in clips[::20]}
    rest = [clip for clip in clips if clip.path not in gone]
    without = {rest[index].path for index in training_subset(rest, 0.25, 0)}
    for label in counts:  # one that is gone gives its place to the next; nothing else moves
        before, after = ({path for path in paths if f"/{label}/" in path} for paths in (chosen - gone, without))
        assert before <= after or after <= before

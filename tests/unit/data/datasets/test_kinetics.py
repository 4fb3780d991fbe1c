"""Kinetics from its official CSV files and from the lists of papers' code; true samples, if they are there."""

import csv
import logging
import os
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from caption_files import dataset, touch
from side4video.core.errors import InputError

SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or Path(__file__).resolve().parents[5] / "shared" / "data")
SAMPLES = SHARED / "annotations" / "kinetics400"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of annotations are not on this machine")
SKIP = {"kind": "skip"}

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
TRAIN = HEADER + '"riding a bike",_4YTwq0-73Y,44,54,train,0\nabseiling,-b,0,10,train,1\n'
TEST = HEADER + "abseiling,c,7,17,val,0\n"
FILES = ("_4YTwq0-73Y_000044_000054.mp4", "-b_000000_000010.mp4", "c_000007_000017.mp4")


def write(folder, train=TRAIN, test=TEST, **fields):
    for name, text in (("train.csv", train), ("val.csv", test)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return dataset({"kind": "kinetics", "annotations": str(folder), **fields})


def make(folder, train=TRAIN, test=TEST, files=FILES, **fields):
    for name in files:
        touch(folder, name)
    return write(folder, train, test, **fields)


def test_the_official_csv(tmp_path):
    spec = make(tmp_path)
    assert spec.classes() == ("abseiling", "riding a bike")
    clips = [*spec.clips("train"), *spec.clips("test")]
    assert [clip.path for clip in clips] == [str(tmp_path / name) for name in FILES]
    assert [clip.label for clip in clips] == [1, 0, 0]
    assert clips[0].origin == f"{tmp_path}/train.csv:2"
    assert not any(clip.start_seconds or clip.end_seconds or clip.frame_pattern for clip in clips)
    assert spec.flipped_classes() == {0: 0, 1: 1}
    spec.check()
    spec.prepare(lambda done, total: None)


def test_a_csv_of_kinetics_400_has_no_column_is_cc(tmp_path):
    train = "label,youtube_id,time_start,time_end,split\nabseiling,-b,0,10,train\n"
    assert [clip.label for clip in make(tmp_path, train).clips("train")] == [0]


@pytest.mark.parametrize(("folders", "name"), [("spaces", "riding a bike"), ("underscores", "riding_a_bike")])
def test_a_folder_for_each_class_and_roots_of_their_own(tmp_path, folders, name):
    touch(tmp_path / "train" / name, FILES[0])
    touch(tmp_path / "train/abseiling", FILES[1])
    touch(tmp_path / "val/abseiling", "c_000007_000017.mkv")
    roots = {"root": str(tmp_path / "train"), "test_root": str(tmp_path / "val")}
    touch(tmp_path / "val/abseiling", FILES[2])
    spec = write(tmp_path, class_folders=folders, **roots)
    assert spec.clips("train")[0].path == str(tmp_path / "train" / name / FILES[0])
    assert spec.clips("test")[0].path == str(tmp_path / "val/abseiling" / FILES[2])
    other = write(tmp_path, class_folders=folders, extension=".mkv", **roots)
    assert other.clips("test")[0].path == str(tmp_path / "val/abseiling/c_000007_000017.mkv")
    with pytest.raises(InputError, match="2 of 2 videos are not in"):
        other.clips("train")


def test_folders_of_frames(tmp_path):
    for name in FILES:
        (tmp_path / name.removesuffix(".mp4")).mkdir()
    spec = write(tmp_path, frame_pattern="img_{:05d}.jpg")
    clip = spec.clips("train")[0]
    assert (clip.path, clip.frame_pattern) == (str(tmp_path / "_4YTwq0-73Y_000044_000054"), "img_{:05d}.jpg")
    with pytest.raises(InputError, match="2 of 2 videos are not in"):
        write(tmp_path).clips("train")


LISTS = {
    "videos": ("a b/x.mp4 1\ny.mp4 0\n", {}),
    "frames": ("a b/x 150 1\ny 300 0\n", {"frame_pattern": "img_{:05d}.jpg"}),
    "counted videos": ("a b/x.mp4 150 1\r\n\r\ny.mp4 9 0\r\n", {}),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_files(tmp_path, case):
    text, fields = LISTS[case]
    (tmp_path / "names.csv").write_text("id,name\n0,abseiling\n1,riding a bike\n")
    ending = "" if fields else ".mp4"
    for name in ("a b/x", "y"):
        (tmp_path / name).mkdir(parents=True) if fields else touch(tmp_path, name + ending)
    spec = write(tmp_path, text, text, format="list", class_names="names.csv", **fields)
    assert spec.classes() == ("abseiling", "riding a bike")
    assert [(clip.path, clip.label) for clip in spec.clips("train")] == [
        (str(tmp_path / f"a b/x{ending}"), 1),
        (str(tmp_path / f"y{ending}"), 0),
    ]
    assert spec.clips("test")[0].origin.endswith("val.csv:1")
    unnamed = write(tmp_path, text, text, format="list", **fields)
    assert unnamed.classes() == ("0", "1")


def test_missing_videos(tmp_path, caplog):
    spec = make(tmp_path, files=FILES[:1] + FILES[2:])
    with pytest.raises(InputError, match=r"train\.csv:3: 1 of 2 videos are not in .*-b_000000_000010\.mp4") as caught:
        spec.check()
    assert "missing_videos" in caught.value.fix
    with caplog.at_level(logging.WARNING):
        lenient = write(tmp_path, missing_videos=SKIP)
        assert [clip.label for clip in lenient.clips("train")] == [1]
        assert lenient.classes() == ("abseiling", "riding a bike")  # what is not there moves no label
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/train.csv: left out 1 of 2 videos, which are not in {tmp_path}"
    ]
    (tmp_path / FILES[2]).unlink()
    with pytest.raises(InputError, match="none of the 1 listed videos"):
        lenient.clips("test")


def test_the_fingerprint_sees_labels_and_files_and_not_where_the_folder_is(tmp_path):
    prints = []
    texts = [TRAIN, TRAIN, TRAIN.replace('"riding a bike"', "abseiling"), TRAIN]
    for number, text in enumerate(texts):
        (tmp_path / str(number)).mkdir()
        spec = make(tmp_path / str(number), text)
        if number == 3:
            (tmp_path / "3" / FILES[0]).write_bytes(b"more")
        prints.append(spec.fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


WRONG = {
    "no column": (HEADER.replace("youtube_id", "youtube"), r"train\.csv:1: no column 'youtube_id'.*did you mean"),
    "no header": ("abseiling,-b,0,10,train,1\n", r"train\.csv:1: no column 'label'"),
    "a list": ("a.mp4 0\nb.mp4 1\n", r"train\.csv:1: no column 'label'"),
    "empty": ("", "the list is empty"),
    "header only": (HEADER, "a header and no clips"),
    "not UTF-8": (TRAIN.encode() + b"caf\xe9,d,0,10,train,0\n", r"train\.csv:4: not UTF-8"),
    "twice": (TRAIN + "abseiling,-b,0,10,train,1\n", r"train\.csv:4: .*listed twice, first in .*train\.csv:3"),
    "no label": (HEADER + ",-b,0,10,train,1\n", r"train\.csv:2: the label is empty"),
    "no time": (HEADER + "abseiling,-b,0:00,10,train,1\n", r"train\.csv:2: time_start is '0:00'"),
    "half seconds": (HEADER + "abseiling,-b,0.5,10,train,1\n", r"train\.csv:2: from 0\.5 s to 10 s"),
    "end before start": (HEADER + "abseiling,-b,20,10,train,1\n", r"train\.csv:2: from 20 s to 10 s"),
    "leaves the root": (HEADER + "abseiling,../b,0,10,train,1\n", r"train\.csv:2: .*leaves the root"),
    "cells": (HEADER + "abseiling,-b,0,10\n", r"train\.csv:2: 4 columns, where 6"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_csv_is_named_by_file_and_line(tmp_path, case):
    text, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        make(tmp_path, text).check()
    assert "\n" not in str(caught.value)


WRONG_LISTS = {
    "a csv": (TRAIN, r"train\.csv:1: found 'label,youtube_id.*allowed: path label"),
    "empty": (" \n", "the list is empty"),
    "one column": ("x.mp4\n", r"train\.csv:1: found 'x\.mp4'"),
    "a column less": ("x 100 1\ny 0\n", r"train\.csv:2: found 'y 0'"),
    "no number of frames": ("x 100 1\ny many 0\n", r"train\.csv:2: the number of frames is 'many'"),
    "out of range": ("x 100 2\n", r"train\.csv:1: label 2 is out of range.*0 to 1"),
    "negative": ("x -1\n", r"train\.csv:1: label -1 is out of range"),
    "no class": ("x 100 abseil\n", r"train\.csv:1: label 'abseil' is no class.*did you mean 'abseiling'"),
    "twice": ("x 100 1\nx 101 1\n", r"train\.csv:2: .*listed twice"),
    "twice in another spelling": ("x 100 1\n./x 101 1\n", r"train\.csv:2: the video 'x' is listed twice"),
    "twice through a folder": ("a/../x 100 1\nx 101 1\n", r"train\.csv:2: the video 'x' is listed twice"),
    "leaves the root": ("../x 100 1\n", r"train\.csv:1: .*leaves the root"),
    "not UTF-8": (b"x 100 1\n\xff 2 0\n", r"train\.csv:2: not UTF-8"),
    "missing file": ("x 100 1\n", r"train\.csv:1: 1 of 1 videos are not in"),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_a_wrong_list_is_named_by_file_and_line(tmp_path, case):
    text, message = WRONG_LISTS[case]
    (tmp_path / "names.csv").write_text("abseiling\nriding a bike\n")
    with pytest.raises(InputError, match=message) as caught:
        write(tmp_path, text, text, format="list", class_names="names.csv").check()
    assert "\n" not in str(caught.value)


def test_an_absolute_path_is_the_same_video(tmp_path):
    (tmp_path / "names.csv").write_text("abseiling\nriding a bike\n")
    text = f"x 100 1\n{tmp_path}/x 101 1\n"
    with pytest.raises(InputError, match=r"train\.csv:2: the video 'x' is listed twice"):
        write(tmp_path, text, text, format="list", class_names="names.csv", root=str(tmp_path)).check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_list": "none.csv"}, r"none\.csv: the annotation file cannot be read"),
        ({"class_names": "none.csv"}, r"data\.dataset\.class_names: .*none\.csv cannot be read"),
        ({"class_names": "none.json"}, r"data\.dataset\.class_names: .*none\.json cannot be read"),
        ({"annotations": "${NO_SUCH_VARIABLE}"}, r"data\.dataset\.annotations: .*NO_SUCH_VARIABLE"),
        ({"test_root": "${NO_SUCH_VARIABLE}"}, r"data\.dataset\.test_root: .*NO_SUCH_VARIABLE"),
    ],
)
def test_a_wrong_description(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path, **fields).check()


@pytest.mark.parametrize(
    "fields", [{"class_folders": "spaces", "format": "list"}, {"extension": "mp4"}, {"frame_pattern": "%05d.jpg"}]
)
def test_fields_that_contradict_themselves(fields):
    with pytest.raises(ValidationError):
        dataset({"kind": "kinetics", "annotations": "x", **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "0", "b": "2"}', "no class has position 1"),
        ('{"a": "0", "b": 0}', "position 0 is that of 'a' already"),
        ('{"a": "first"}', "found 'first'"),
        ('{"a": true}', "found True"),
        ("{}", "no class has position 0"),
        ('["a"]', "allowed: an object"),
        ('{"a": 0, "\\"a\\"": 1}', "'a' appears twice"),
    ],
)
def test_a_wrong_json_of_class_names(tmp_path, text, message):
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(InputError, match=message):
        make(tmp_path, class_names="names.json").classes()


@needs_samples
def test_true_rows_of_the_official_csv(tmp_path):
    rows = {}
    for split, name in (("train", "tiny_train.csv"), ("test", "tiny_val.csv")):
        with (SAMPLES / name).open(newline="") as file:
            rows[split] = list(csv.DictReader(file))
    for row in (row for each in rows.values() for row in each):
        touch(tmp_path, f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4")
    fields = {"kind": "kinetics", "annotations": str(SAMPLES), "root": str(tmp_path)}
    spec = dataset({**fields, "train_list": "tiny_train.csv", "test_list": "tiny_val.csv"})
    classes = spec.classes()
    assert len(classes) == 400
    assert classes == tuple(line.partition(",")[2] for line in _lines("kinetics_400_labels.csv")[1:])
    for name in ("kinetics_400_labels.csv", "k400_labels.DiST.json"):
        assert dataset({**fields, "class_names": name}).classes() == classes
    assert spec.flipped_classes() == {index: index for index in range(400)}
    for split, each in rows.items():
        clips = spec.clips(split)
        assert len(clips) == len(each) == 400
        assert [classes[clip.label] for clip in clips] == [row["label"] for row in each]
        assert Counter(clip.label for clip in clips) == dict.fromkeys(range(400), 1)


@needs_samples
def test_true_lists_of_papers_code(tmp_path):
    train, test, videos = (
        f"kinetics_{name}.head50.txt" for name in ("rgb_train_se320_0.1", "rgb_val_se320", "video_val_se320")
    )
    for line in [*_lines(train), *_lines(test)]:
        (tmp_path / line.split()[0]).mkdir(parents=True)
    for line in _lines(videos):
        touch(tmp_path, line.split()[0])
    fields = {"kind": "kinetics", "annotations": str(SAMPLES), "root": str(tmp_path), "format": "list"}
    names = {"class_names": "kinetics_400_labels.csv"}
    frames = dataset({**fields, **names, "train_list": train, "test_list": test, "frame_pattern": "img_{:05d}.jpg"})
    for split, name in (("train", train), ("test", test)):
        labels = [int(line.split()[2]) for line in _lines(name)]
        assert [clip.label for clip in frames.clips(split)] == labels
        assert len(labels) == 50
    for clip in frames.clips("train"):  # the folder is the class's name: the numbers mean the sorted names
        assert Path(clip.path).parent.name == frames.classes()[clip.label].replace(" ", "_").replace("'", "")
    plain = dataset({**fields, **names, "train_list": videos, "test_list": videos})
    assert {clip.label for clip in plain.clips("test")} == {int(line.split()[1]) for line in _lines(videos)}


def _lines(name):
    return (SAMPLES / name).read_text().splitlines()


# ---- Kinetics-600 and -700

TEST_WITHOUT_LABELS = "youtube_id,time_start,time_end,split\nc,7,17,test\n"


@pytest.mark.parametrize("text", [TEST_WITHOUT_LABELS, TEST_WITHOUT_LABELS.replace("youtube_id", '"youtube_id"')])
def test_a_list_without_labels_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"val\.csv:1: the list has no labels: youtube_id, time_start") as caught:
        make(tmp_path, test=text).check()
    assert "test_list: val.csv" in caught.value.fix
    assert "\n" not in str(caught.value)


def test_each_kinetics_has_its_own_order_of_classes(tmp_path):
    """A class that only the larger set has moves all classes behind it."""
    small = make(tmp_path).classes()
    larger = TRAIN + "acting in play,d,0,10,train,0\n"
    touch(tmp_path, "d_000000_000010.mp4")
    spec = make(tmp_path, larger)
    assert spec.classes() == ("abseiling", "acting in play", "riding a bike")
    assert (small.index("riding a bike"), spec.classes().index("riding a bike")) == (1, 2)
    assert [clip.label for clip in spec.clips("train")] == [2, 0, 1]


def test_a_class_that_is_not_in_the_file_of_class_names_is_refused(tmp_path):
    """Classes were renamed from one Kinetics to the next, so names of another set do not fit."""
    (tmp_path / "names.txt").write_text("abseiling\nriding a bicycle\n")
    with pytest.raises(InputError, match=r"train\.csv:2: label 'riding a bike' is no class.*mean 'riding a bicycle'"):
        make(tmp_path, class_names="names.txt").check()


def test_the_number_of_classes_that_plans_assume():
    spec = dataset({"kind": "kinetics", "annotations": "/nowhere"})
    assert spec.usual_classes() == 400
    larger = dataset({"kind": "kinetics", "annotations": "/nowhere", "class_count": 600})
    assert larger.usual_classes() == 600
    assert "class_count" not in spec.identifying_values()
    assert larger.identifying_values()["class_count"] == 600
    with pytest.raises(ValidationError):
        dataset({"kind": "kinetics", "annotations": "x", "class_count": 500})


def test_only_some_classes_in_the_order_of_their_file(tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("riding a bike\nabseiling\n")
    spec = make(tmp_path, only_classes=str(split))
    assert spec.classes() == ("riding a bike", "abseiling")
    assert [clip.label for clip in spec.clips("train")] == [0, 1]
    split.write_text("riding a bike\n")
    assert spec.classes() == ("riding a bike",)
    assert [(Path(clip.path).name, clip.label) for clip in spec.clips("train")] == [(FILES[0], 0)]
    with pytest.raises(InputError, match=r"val\.csv: no video is of a class in .*split\.txt"):
        spec.clips("test")
    assert "only_classes" not in make(tmp_path).identifying_values()


def test_videos_of_other_classes_need_not_be_there(tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("riding a bike\n")
    touch(tmp_path, FILES[0])
    assert len(write(tmp_path, only_classes=str(split)).clips("train")) == 1


def test_numbers_in_a_list_mean_all_classes(tmp_path):
    (tmp_path / "names.txt").write_text("abseiling\njuggling\nriding a bike\n")
    (tmp_path / "split.txt").write_text("riding a bike\nabseiling\n")
    text = "x.mp4 2\ny.mp4 0\nz.mp4 1\n"
    for name in "xyz":
        touch(tmp_path, f"{name}.mp4")
    spec = write(tmp_path, text, text, format="list", class_names="names.txt", only_classes=str(tmp_path / "split.txt"))
    assert [(Path(clip.path).name, clip.label) for clip in spec.clips("train")] == [("x.mp4", 0), ("y.mp4", 1)]
    with pytest.raises(InputError, match=r"train\.csv:1: label 3 is out of range"):
        write(tmp_path, "x.mp4 3\n", text, format="list", class_names="names.txt",
              only_classes=str(tmp_path / "split.txt")).clips("train")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abseiling\nriding bike\n", r"split\.txt:2: 'riding bike' is no class of the data set.*mean 'riding a bike'"),
        ("abseiling\nabseiling\n", r"split\.txt:2: the class 'abseiling' is in line 1 already"),
        ("", r"split\.txt: no class name in it"),
        (None, r"data\.dataset\.only_classes: .*split\.txt cannot be read"),
    ],
)
def test_a_wrong_file_of_only_classes(tmp_path, text, message):
    if text is not None:
        (tmp_path / "split.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        make(tmp_path, only_classes=str(tmp_path / "split.txt")).check()

"""The caption sets on true samples of the original files, against counts taken from those files by other means."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from caption_files import dataset, touch
from side4video.core.errors import InputError
from side4video.data.annotations.pickles import read_plain_pickle

SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or Path(__file__).resolve().parents[5] / "shared" / "data")
ANNOTATIONS = SHARED / "annotations"
CLIPS = SHARED / "videos" / "gmdcsa24_256"

needs_samples = pytest.mark.skipif(
    not ANNOTATIONS.is_dir(), reason="the samples of annotations are not on this machine"
)
SKIP = {"kind": "skip"}


def lines(sample):
    return (ANNOTATIONS / sample).read_text().split()


def read(sample):
    return json.loads((ANNOTATIONS / sample).read_text())


@needs_samples
@pytest.mark.parametrize("train", ["9k", "7k"])
def test_msr_vtt(tmp_path, train):
    for name in (f"MSRVTT_train.{train}.csv", "MSRVTT_JSFUSION_test.csv"):
        (tmp_path / name).symlink_to(ANNOTATIONS / "msrvtt" / name)
    (tmp_path / "MSRVTT_data.json").symlink_to(ANNOTATIONS / "msrvtt" / "MSRVTT_data.sample20.json")
    listed = lines(f"msrvtt/MSRVTT_train.{train}.csv")[1:]
    assert len(listed) == {"9k": 9000, "7k": 7010}[train]
    with (ANNOTATIONS / "msrvtt/MSRVTT_JSFUSION_test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in [*listed, *(row["video_id"] for row in rows)]:
        touch(tmp_path / "videos", f"{name}.mp4")
    fields = {"kind": "msr-vtt", "annotations": str(tmp_path), "root": str(tmp_path / "videos"), "train": train}

    test = dataset(fields).clips("test")
    assert len(test) == 1000
    assert [clip.captions for clip in test] == [(row["sentence"].strip(),) for row in rows]

    sentences = Counter(entry["video_id"] for entry in read("msrvtt/MSRVTT_data.sample20.json")["sentences"])
    described = [name for name in listed if name in sentences]
    spec = dataset({**fields, "empty_captions": SKIP})
    if train == "7k":  # the sample holds captions of videos of the official test split, none of which is among these
        assert described == []
        with pytest.raises(InputError, match="7010 are listed, 0 have captions"):
            spec.clips("train")
        return
    assert [Path(clip.path).stem for clip in spec.clips("train")] == described
    assert [len(clip.captions) for clip in spec.clips("train")] == [sentences[name] for name in described]
    assert len(described) == 12


@needs_samples
def test_msvd(tmp_path):
    texts = read("msvd/captions.sample40.json")
    annotations = ANNOTATIONS / "msvd"
    for split, count in (("train", 1200), ("test", 670)):
        names = lines(f"msvd/{split}_list.txt")
        assert len(names) == count
        for name in names:
            touch(tmp_path, f"{name}.avi")
    fields = {"kind": "msvd", "annotations": str(annotations), "root": str(tmp_path), "empty_captions": SKIP}
    pickled = dataset({**fields, "captions": "raw-captions.sample40.pkl"}).clips("test")
    described = [name for name in lines("msvd/test_list.txt") if name in texts]
    assert [Path(clip.path).stem for clip in pickled] == described
    assert len(described) == len(texts) == 40
    words = read_plain_pickle(annotations / "raw-captions.sample40.pkl")
    assert [clip.captions for clip in pickled] == [tuple(" ".join(each) for each in words[name]) for name in described]
    assert sum(len(clip.captions) for clip in pickled) == sum(map(len, texts.values()))
    written = dataset({**fields, "captions": "captions.sample40.json"}).clips("test")
    assert [clip.captions for clip in written] == [tuple(text.strip() for text in texts[name]) for name in described]


@needs_samples
@pytest.mark.parametrize("sample", ["vatex_training_v1.0.sample5.json", "vatex_data.sample5.CLIP2Video-format.json"])
def test_vatex(tmp_path, sample):
    texts = {entry["videoID"]: entry["enCap"] for entry in read("vatex/vatex_training_v1.0.sample5.json")}
    assert len(texts) == 5
    (tmp_path / "train_list.txt").write_text("\n".join([*lines("vatex/train_list.head60.txt"), *texts]))
    for name in texts:
        touch(tmp_path, f"{name}.mp4")
    fields = {"kind": "vatex", "annotations": str(tmp_path), "captions": [str(ANNOTATIONS / "vatex" / sample)]}
    clips = dataset({**fields, "empty_captions": SKIP}).clips("train")
    assert [clip.captions for clip in clips] == [tuple(text.strip() for text in each) for each in texts.values()]
    assert {len(clip.captions) for clip in clips} == {10}
    spans = dataset({**fields, "empty_captions": SKIP, "missing_videos": SKIP, "files": "whole-videos"})
    for name in texts:
        touch(tmp_path, f"{name[:-14]}.mp4")
    assert [f"{clip.start_seconds:06.0f}_{clip.end_seconds:06.0f}" for clip in spans.clips("train")] == [
        name[-13:] for name in texts
    ]


@pytest.mark.skipif(not (CLIPS / "captions.json").is_file(), reason="the shared clips are not on this machine")
def test_captions_of_real_clips():
    entries = json.loads((CLIPS / "captions.json").read_text())
    spec = dataset(
        {
            "kind": "captions",
            "annotations": str(CLIPS / "captions.json"),
            "columns": {"path": "video", "caption": "description", "group": "subject"},
            "split_by": {"kind": "group", "test_fraction": 0.3},
        }
    )
    clips = {split: spec.clips(split) for split in ("train", "test")}
    found = {Path(clip.path).name: (clip.captions, clip.group) for each in clips.values() for clip in each}
    assert found == {entry["video"]: ((entry["description"].strip(),), entry["subject"]) for entry in entries}
    assert sum(map(len, clips.values())) == len(entries) == 23
    assert not {clip.group for clip in clips["train"]} & {clip.group for clip in clips["test"]}

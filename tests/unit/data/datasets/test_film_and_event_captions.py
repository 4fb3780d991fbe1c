"""LSMDC, ActivityNet Captions and the full division of MSR-VTT, from small files in their original form."""

import logging
import os
from pathlib import Path

import pytest

from caption_files import dataset, touch, write_csv, write_json
from side4video.core.errors import InputError

SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or Path(__file__).resolve().parents[5] / "shared" / "data")
SAMPLES = SHARED / "annotations" / "msrvtt"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of annotations are not on this machine")


def refused(spec, message, split="train"):
    with pytest.raises(InputError, match=message) as caught:
        spec.clips(split)
    assert "\n" not in str(caught.value)


# ---- LSMDC

BEAUTY = "0001_American_Beauty_00.00.51.926-00.00.54.129"
HUGO = "1013_HUGO_00.12.01.000-00.12.05.500"


def film_line(identifier, sentence):
    return "\t".join([identifier, "00.00.51.9", "00.00.54.1", "00.00.51.926", "00.00.54.129", sentence])


TRAIN = [film_line(BEAUTY, '"SOMEONE lies in bed.'), film_line(BEAUTY, "He looks up, and smiles.")]
TEST = [film_line(HUGO, "A boy runs.")]


def write_films(folder, train=TRAIN, test=TEST, **fields):
    (folder / "LSMDC16_annos_training.csv").write_text("\n".join(train))
    (folder / "LSMDC16_challenge_1000_publictect.csv").write_text("\n".join(test))
    for identifier, film in ((BEAUTY, "0001_American_Beauty"), (HUGO, "1013_HUGO")):
        touch(folder / film, f"{identifier}.avi")
    return dataset({"kind": "lsmdc", "annotations": str(folder), **fields})


def test_a_clip_of_a_film_may_have_several_lines_and_a_quote_closes_nothing(tmp_path):
    spec = write_films(tmp_path)
    (clip,) = spec.clips("train")
    assert clip.path == str(tmp_path / "0001_American_Beauty" / f"{BEAUTY}.avi")
    # Read as CSV, the quote would take the second line into the first sentence.
    assert clip.captions == ('"SOMEONE lies in bed.', "He looks up, and smiles.")
    assert (clip.group, clip.start_seconds, clip.end_seconds) == ("0001_American_Beauty", None, None)
    assert clip.origin == f"{tmp_path}/LSMDC16_annos_training.csv:1"
    assert [clip.captions for clip in spec.clips("test")] == [("A boy runs.",)]
    assert (spec.classes(), spec.splits()) == ((), ("train", "test"))
    spec.check()


def test_films_in_one_folder_with_a_validation_split(tmp_path):
    for identifier in (BEAUTY, HUGO):
        touch(tmp_path, f"{identifier}.mp4")
    (tmp_path / "LSMDC16_annos_val.csv").write_text(TEST[0])
    spec = write_films(tmp_path, folders="none", extension=".mp4", val_list="LSMDC16_annos_val.csv")
    assert spec.splits() == ("train", "val", "test")
    assert [clip.path for clip in spec.clips("val")] == [str(tmp_path / f"{HUGO}.mp4")]


WRONG_FILMS = {
    "no sentence": (["\t".join([BEAUTY] + ["00.00.51.926"] * 4)], r"training\.csv:1: 5 columns, where 6.*blindtest"),
    "empty sentence": ([TRAIN[0], film_line(HUGO, "")], r"training\.csv:2: an empty caption"),
    "no times": (
        [film_line("0001_American_Beauty", "x")],
        r"training\.csv:1: the id '0001_American_Beauty' names no clip",
    ),
    "empty": ([""], r"training\.csv: the list is empty"),
    "missing": ([film_line(BEAUTY.replace("51", "50"), "x")], r"training\.csv:1: 1 of 1 videos are not in"),
}


@pytest.mark.parametrize("case", WRONG_FILMS)
def test_a_wrong_list_of_films(tmp_path, case):
    lines, message = WRONG_FILMS[case]
    refused(write_films(tmp_path, lines), message)


# ---- ActivityNet Captions

EVENTS = {
    "v_QOlSCBRmfWY": {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [17.37, 60.81], [60.0, 59.0]],
        "sentences": ["A woman dances.", " She turns. ", "She stops."],
    },
    "v_b": {"duration": 9, "timestamps": [[0, 9]], "sentences": ["Rain falls."]},
}


def write_events(folder, train=EVENTS, **fields):
    write_json(folder / "train.json", train)
    write_json(folder / "val_1.json", {"v_c": EVENTS["v_b"]})
    for name in ("v_QOlSCBRmfWY", "v_b", "v_c"):
        touch(folder, f"{name}.mp4")
    return dataset({"kind": "activitynet-captions", "annotations": str(folder), **fields})


def test_a_paragraph_of_a_whole_video(tmp_path):
    spec = write_events(tmp_path)
    first, second = spec.clips("train")
    assert first.path == str(tmp_path / "v_QOlSCBRmfWY.mp4")
    # The third event ends before it starts, and its sentence is part of the text all the same.
    assert first.captions == ("A woman dances. She turns. She stops.",)
    assert (first.start_seconds, first.end_seconds, second.captions) == (None, None, ("Rain falls.",))
    assert [clip.path for clip in spec.clips("test")] == [str(tmp_path / "v_c.mp4")]
    assert spec.splits() == ("train", "test")
    spec.check()


def test_a_sentence_of_each_event(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        clips = write_events(tmp_path, captions="sentences").clips("train")
    assert [(clip.captions, clip.start_seconds, clip.end_seconds, clip.group) for clip in clips] == [
        (("A woman dances.",), 0.83, 19.86, "v_QOlSCBRmfWY"),
        (("She turns.",), 17.37, 60.81, "v_QOlSCBRmfWY"),
        (("Rain falls.",), 0.0, 9.0, "v_b"),
    ]
    assert clips[1].origin == f"{tmp_path}/train.json:v_QOlSCBRmfWY.sentences[1]"
    assert "left out 1 events that end before they start" in caplog.text


def event(timestamps, sentences):
    return {"v_b": {"duration": 9, "timestamps": timestamps, "sentences": sentences}}


WRONG_EVENTS = {
    "a list": ([], r"train\.json: found \[\] · allowed: an object"),
    "empty": ({}, r"train\.json: the file is empty"),
    "no sentences": ({"v_b": {"timestamps": []}}, r"train\.json:v_b: no field 'sentences'"),
    "one less": (event([[0, 1]], ["a", "b"]), r"train\.json:v_b: 2 sentences and 1 timestamps"),
    "half a span": (event([[0]], ["a"]), r"train\.json:v_b\.timestamps\[0\]: the segment is \[0\]"),
    "a negative time": (event([[-1, 2]], ["a"]), r"timestamps\[0\]: the segment is \[-1, 2\]"),
    "a number": (event([[0, 1]], [3]), r"sentences\[0\]: found 3 · allowed: text"),
    "empty sentence": (event([[0, 1]], [" "]), r"train\.json:v_b\.sentences\[0\]: an empty caption"),
}


@pytest.mark.parametrize("captions", ["paragraph", "sentences"])
@pytest.mark.parametrize("case", WRONG_EVENTS)
def test_a_wrong_file_of_events(tmp_path, case, captions):
    document, message = WRONG_EVENTS[case]
    spec = write_events(tmp_path, document, captions=captions)
    if captions == "paragraph" and case in ("one less", "half a span", "a negative time"):
        assert len(spec.clips("train")) == 1  # a paragraph needs no times
    else:
        refused(spec, message)


@pytest.mark.parametrize("make", [write_films, write_events])
def test_missing_videos_and_files(tmp_path, make):
    spec = make(tmp_path, missing_videos={"kind": "skip"})
    for path in [*tmp_path.glob("v_Q*.mp4"), *tmp_path.glob("0001*/*.avi")]:
        path.unlink()
    if make is write_events:
        assert len(spec.clips("train")) == 1
    else:
        refused(spec, "no video is for train: 1 are listed, 1 have captions, 0 are there")
    next(iter([*tmp_path.glob("train.json"), *tmp_path.glob("*training.csv")])).unlink()
    refused(spec, "the annotation file cannot be read: No such file")


# ---- the full division of MSR-VTT

FULL = {"train": ["video0"], "val": ["video6513"], "test": ["video7011", "video7010"]}


def write_full(folder, **fields):
    names = [name for each in FULL.values() for name in each]
    sentences = [{"caption": f"{name} {n}", "video_id": name, "sen_id": n} for n in range(2) for name in names]
    write_json(folder / "MSRVTT_data.json", {"videos": [], "sentences": sentences})
    for split, each in FULL.items():
        write_csv(folder / f"MSRVTT_{split}.full.csv", [["video_id"], *([name] for name in each)])
    for name in names:
        touch(folder, f"{name}.mp4")
    return dataset({"kind": "msr-vtt", "annotations": str(folder), "train": "full", **fields})


def test_the_full_division_has_validation_and_all_captions_of_test_videos(tmp_path):
    spec = write_full(tmp_path)
    assert spec.splits() == ("train", "val", "test")
    for split, names in FULL.items():
        clips = spec.clips(split)
        assert [Path(clip.path).stem for clip in clips] == names
        assert [clip.captions for clip in clips] == [(f"{name} 0", f"{name} 1") for name in names]
    assert dataset({"kind": "msr-vtt", "annotations": str(tmp_path)}).splits() == ("train", "test")
    (tmp_path / "MSRVTT_val.full.csv").write_text("video_id\nvideo1\n")
    refused(spec, r"MSRVTT_val\.full\.csv:2: 1 of 1 listed videos have no caption", "val")


@needs_samples
def test_the_true_lists_of_the_full_division(tmp_path):
    sizes = {}
    for split in ("train", "val", "test"):
        lines = (SAMPLES / f"MSRVTT_{split}.full.csv").read_text().split()
        assert lines[0] == "video_id"
        sizes[split] = len(set(lines[1:]))
    assert sizes == {"train": 6513, "val": 497, "test": 2990}

"""Data sets of videos with captions: what each gives. What they say of mistakes is in `test_caption_mistakes.py`."""

import json
import logging

import pytest
from click.testing import CliRunner

from caption_files import FORMS, TEST, TRAIN, expected, make, touch, write_csv, write_json
from side4video.cli.listing import list_kinds
from side4video.core.errors import InputError
from side4video.data.datasets import CaptionsSpec, DidemoSpec, MsrVttSpec, MsvdSpec, VatexSpec


@pytest.mark.parametrize("form", FORMS)
def test_videos_come_in_the_order_of_the_list_and_captions_in_that_of_their_file(tmp_path, form):
    spec = make(form, tmp_path)
    for split, wanted in (("train", TRAIN), ("test", TEST)):
        clips = spec.clips(split)
        extension = ".avi" if spec.kind == "msvd" else ".mp4"
        assert [clip.path for clip in clips] == [str(tmp_path / f"{name}{extension}") for name in wanted]
        assert [clip.captions for clip in clips] == [expected(form, captions) for captions in wanted.values()]
        assert {clip.label for clip in clips} == {None}
        assert all(clip.origin.startswith(f"{tmp_path}/") for clip in clips)
        assert not any(clip.reversed or clip.start_seconds for clip in clips)
    assert spec.classes() == ()
    assert spec.flipped_classes() == {}
    spec.check()
    spec.prepare(lambda done, total: None)


LONG = "word " * 1999 + "ends."
ODD = [
    LONG,
    "a family 👨‍👩‍👧‍👦 waves 🇫🇷",
    "猫が走る",
    "قطة تجري",
    'he says "hi", then\nleaves',
    "e\u0301 and é",
    "{} %s \\n",
]


@pytest.mark.parametrize("form", FORMS)
def test_no_caption_is_changed(tmp_path, form):
    assert len(LONG) == 10_000
    spec = make(form, tmp_path, {"odd": ODD}, {f"odd{n}": [text] for n, text in enumerate(ODD)})
    assert spec.clips("train")[0].captions == expected(form, ODD)
    assert [clip.captions for clip in spec.clips("test")] == [(text,) for text in ODD]


@pytest.mark.parametrize("form", FORMS)
def test_captions_are_stripped(tmp_path, form):
    spec = make(form, tmp_path, {"a": ["  a cat \n", "\tit  runs"]}, {"b": [" rain "]})
    assert spec.clips("train")[0].captions == expected(form, ["a cat", "it  runs"])
    assert spec.clips("test")[0].captions == ("rain",)


@pytest.mark.parametrize("form", FORMS)
def test_the_fingerprint_sees_captions_and_files_and_not_where_the_folder_is(tmp_path, form):
    def fingerprint(name, test=TEST, content=b""):
        folder = tmp_path / name
        folder.mkdir()
        spec = make(form, folder, TRAIN, test)
        (folder / spec.clips("test")[0].path).write_bytes(content)
        return spec.fingerprint()

    one = fingerprint("one")
    assert one == fingerprint("two")
    assert one != fingerprint("three", {**TEST, "video7": ["rain fell"]})
    assert one != fingerprint("four", dict(reversed(TEST.items())))
    assert one != fingerprint("five", content=b"1")


@pytest.mark.parametrize("form", FORMS)
def test_videos_may_lie_elsewhere(tmp_path, form, monkeypatch):
    (tmp_path / "annotations").mkdir()
    spec = make(form, tmp_path / "annotations")
    (tmp_path / "annotations").rename(tmp_path / "moved")
    monkeypatch.setenv("VIDEOS", str(tmp_path / "moved"))
    (tmp_path / "annotations").symlink_to(tmp_path / "moved")
    spec = type(spec).model_validate(spec.model_dump() | {"root": "${VIDEOS}"})
    assert spec.clips("train")[0].path.startswith(str(tmp_path / "moved"))
    monkeypatch.delenv("VIDEOS")
    with pytest.raises(InputError, match=r"data\.dataset\.root: the environment variable VIDEOS"):
        spec.clips("train")


def test_every_kind_is_listed_for_users():
    rows = json.loads(CliRunner().invoke(list_kinds, ["datasets", "--json"]).output)
    kinds = {row["kind"]: row["summary"] for row in rows}
    assert {"msr-vtt", "msvd", "vatex", "didemo", "captions"} <= set(kinds)
    assert all(kinds.values())


# ---- empty captions and missing videos, where they may be


@pytest.mark.parametrize("form", [form for form in FORMS if form != "msr-vtt"])
def test_empty_captions_may_be_left_out(tmp_path, form, caplog):
    train = {"a": ["", "a cat", "  "], "b": ["", ""], "c": ["two dogs"]}
    spec = make(form, tmp_path, train, TEST, empty_captions={"kind": "skip"})
    with caplog.at_level(logging.WARNING):
        clips = spec.clips("train")
        assert spec.clips("train") == clips
    assert [clip.captions for clip in clips] == [("a cat",), ("two dogs",)]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "left out 4 empty captions and 1 videos that have no other caption" in warning
    assert "(train)" in warning


@pytest.mark.parametrize("form", FORMS)
def test_missing_videos_may_be_left_out(tmp_path, form, caplog):
    spec = make(form, tmp_path, missing_videos={"kind": "skip"})
    whole = spec.fingerprint()
    (tmp_path / spec.clips("train")[0].path).unlink()
    with caplog.at_level(logging.WARNING):
        (clip,) = spec.clips("train")
    assert clip.captions == expected(form, TRAIN["video10"])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"(train): left out 1 of 2 videos, which are not in {tmp_path}" in warning
    assert len(spec.clips("test")) == 2
    assert spec.fingerprint() != whole


# ---- what only one of them has


def test_the_7k_videos_of_msr_vtt(tmp_path):
    spec = make("msr-vtt", tmp_path).model_copy(update={"train": "7k"})
    with pytest.raises(InputError, match=r"MSRVTT_train\.7k\.csv: the annotation file cannot be read"):
        spec.clips("train")
    write_csv(tmp_path / "MSRVTT_train.7k.csv", [["video_id"], ["video10"]])
    assert [clip.captions for clip in spec.clips("train")] == [("two dogs, one ball",)]


def test_videos_of_vatex_that_are_not_cut(tmp_path):
    ids = {"-a_b_000179_000189": ["x"], "-a_b_000003_000013": ["y"]}
    spec = make("vatex", tmp_path, ids, {"c_000000_000010": ["z"]}, files="whole-videos")
    for name in ("-a_b.mp4", "c.mp4"):
        touch(tmp_path, name)
    clips = spec.clips("train")
    assert {clip.path for clip in clips} == {str(tmp_path / "-a_b.mp4")}
    assert [(clip.start_seconds, clip.end_seconds, clip.group) for clip in clips] == [
        (179.0, 189.0, "-a_b"),
        (3.0, 13.0, "-a_b"),
    ]
    assert spec.clips("test")[0].start_seconds == 0.0


def test_a_paragraph_of_didemo(tmp_path):
    descriptions = [("b.mov", "second."), ("a.x.avi", "a dog"), ("b.mov", " first. "), ("b.mov", "")]
    write_json(tmp_path / "train_data.json", [{"video": name, "description": text} for name, text in descriptions])
    for name in ("b.mov", "a.x.avi", "b.mp4", "a.x.mp4"):
        touch(tmp_path, name)
    spec = DidemoSpec(annotations=str(tmp_path), empty_captions={"kind": "skip"})
    assert [clip.captions for clip in spec.clips("train")] == [("second. first.",), ("a dog",)]
    assert [clip.path for clip in spec.clips("train")] == [str(tmp_path / "b.mov"), str(tmp_path / "a.x.avi")]
    assert {(clip.start_seconds, clip.end_seconds) for clip in spec.clips("train")} == {(None, 31.0)}
    spec = spec.model_copy(update={"extension": ".mp4", "described_seconds": 30.0})
    assert [clip.path for clip in spec.clips("train")] == [str(tmp_path / "b.mp4"), str(tmp_path / "a.x.mp4")]
    assert spec.clips("train")[0].end_seconds == 30.0


# ---- the general form


def listed(folder, text, name="list.csv", videos="abc", **fields):
    for video in videos:
        touch(folder, f"{video}.mp4")
    (folder / name).write_text(text, encoding="utf-8")
    return CaptionsSpec(annotations=str(folder / name), **fields)


def test_spans_and_groups_of_a_table(tmp_path):
    text = (
        "\ufeffstart,path,caption,end,group,notes,split\r\n0.5,a.mp4,one,2,g,,train\r\n,a.mp4,two,,g,,train\r\n"
        '0.50,a.mp4,"three,\nfour",2.0,g,x,train\r\n,b.mp4,five,,,,test\r\n'
    )
    spec = listed(tmp_path, text)
    first, second = spec.clips("train")
    assert (first.start_seconds, first.end_seconds, first.captions, first.group) == (
        0.5,
        2.0,
        ("one", "three,\nfour"),
        "g",
    )
    assert (second.start_seconds, second.end_seconds, second.captions) == (None, None, ("two",))
    assert [clip.origin for clip in (first, second)] == [f"{tmp_path}/list.csv:{line}" for line in (2, 3)]
    assert spec.clips("test")[0].group == ""


def test_a_table_with_tabs_and_other_names(tmp_path):
    text = "file\ttext\tsplit\na.mp4\tone, two\ttrain\nb.mp4\tthree\ttest\n"
    spec = listed(tmp_path, text, "l.tsv", delimiter="tab", columns={"path": "file", "caption": "text"})
    assert spec.clips("train")[0].captions == ("one, two",)


def test_fields_of_json_objects(tmp_path):
    entries = [
        {"video": "a.mp4", "caption": "one", "start": 1, "end": 2.5, "group": 3, "split": "train", "more": {"x": []}},
        {"path": "b.mp4", "captions": "two", "start": None, "split": "test"},
        {"path": "a.mp4", "captions": ["three", "four"], "start": "1", "end": "2.5", "group": "3", "split": "train"},
    ]
    spec = listed(tmp_path, "\n\n".join(json.dumps(entry) for entry in entries), "list.jsonl")
    (clip,) = spec.clips("train")
    assert clip.captions == ("one", "three", "four")
    assert (clip.start_seconds, clip.end_seconds, clip.group) == (1.0, 2.5, "3")
    assert spec.clips("test")[0].origin == f"{tmp_path}/list.jsonl:3"


def test_a_list_of_test_videos_of_its_own(tmp_path):
    listed(tmp_path, '[{"video": "c.mp4", "captions": ["x", "y"]}]', "test.json")
    test = {"kind": "file", "test_annotations": f"{tmp_path}/test.json"}
    spec = listed(tmp_path, "path,caption\nb.mp4,two\na.mp4,one\nb.mp4,three\n", split_by=test)
    assert [clip.captions for clip in spec.clips("train")] == [("two", "three"), ("one",)]
    assert [clip.captions for clip in spec.clips("test")] == [("x", "y")]


def test_a_group_is_never_on_both_sides_and_a_missing_file_moves_nobody(tmp_path):
    names = [f"v{number}" for number in range(60)]
    rows = "".join(
        f"{name}.mp4,caption {turn},g{number // 3}\n" for turn in (0, 1) for number, name in enumerate(names)
    )
    split_by = {"kind": "group", "test_fraction": 0.3}
    spec = listed(
        tmp_path, "path,caption,group\n" + rows, videos=names, split_by=split_by, missing_videos={"kind": "skip"}
    )
    train, test = spec.clips("train"), spec.clips("test")
    assert (len(train), len(test)) == (42, 18)
    assert not {clip.group for clip in train} & {clip.group for clip in test}
    assert {clip.captions for clip in train} == {("caption 0", "caption 1")}
    (tmp_path / "v0.mp4").unlink()
    assert set(spec.clips("test")) <= set(test)
    assert len(spec.clips("train")) + len(spec.clips("test")) == 59


def test_specs_say_what_their_defaults_are():
    assert MsrVttSpec(annotations="x").model_dump() == {
        "annotations": "x",
        "root": "",
        "empty_captions": {"kind": "raise"},
        "missing_videos": {"kind": "raise"},
        "kind": "msr-vtt",
        "train": "9k",
        "extension": ".mp4",
    }
    assert MsvdSpec(annotations="x").captions == "raw-captions.pkl"
    assert VatexSpec(annotations="x").captions == ("vatex_training_v1.0.json", "vatex_validation_v1.0.json")


@pytest.mark.parametrize("other", ["./x.mp4", "sub/../x.mp4", ".//x.mp4", "sub/.././x.mp4", "{root}/x.mp4"])
@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_two_spellings_of_a_path_are_one_video(tmp_path, other, ending):
    entries = [
        {"path": "x.mp4", "caption": "one", "split": "train"},
        {"path": "y.mp4", "caption": "two", "split": "train"},
        {"path": other.format(root=tmp_path), "caption": "three", "split": "train"},
    ]
    path = tmp_path / f"list.{ending}"
    if ending == "json":
        path.write_text(json.dumps(entries))
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(entry) for entry in entries))
    else:
        path.write_text("path,caption,split\n" + "\n".join(",".join(entry.values()) for entry in entries))
    touch(tmp_path, "x.mp4"), touch(tmp_path, "y.mp4")
    clips = CaptionsSpec(annotations=str(path), split_by={"kind": "column"}).clips("train")
    assert [(clip.path, clip.captions) for clip in clips] == [
        (str(tmp_path / "x.mp4"), ("one", "three")),
        (str(tmp_path / "y.mp4"), ("two",)),
    ]


@pytest.mark.parametrize("other", ["./x.mp4", "sub/../x.mp4", "{root}/x.mp4"])
def test_two_spellings_in_two_splits_are_refused(tmp_path, other):
    entries = [{"path": "x.mp4", "caption": "one", "split": "train"}]
    entries += [{"path": other.format(root=tmp_path), "caption": "two", "split": "test"}]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    spec = CaptionsSpec(annotations=str(tmp_path / "list.json"), split_by={"kind": "column"})
    with pytest.raises(InputError, match=r"split is 'test', and 'train' for the same video in .*list\.json:\[0\]"):
        spec.clips("train")

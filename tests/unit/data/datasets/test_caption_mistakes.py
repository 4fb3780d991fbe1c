"""Data sets of videos with captions: every mistake is one line that names file and line, or file and entry."""

import json

import pytest
from pydantic import ValidationError

from caption_files import FORMS, TEST, TRAIN, dataset, make, touch, write, write_json
from side4video.core.errors import InputError
from side4video.data.datasets import CaptionsSpec, DidemoSpec, MsrVttSpec, MsvdSpec, VatexSpec

FILES = {
    "msr-vtt": {"train": ["MSRVTT_train.9k.csv", "MSRVTT_data.json"], "test": ["MSRVTT_JSFUSION_test.csv"]},
    "msvd": {"train": ["train_list.txt", "raw-captions.pkl"], "test": ["test_list.txt", "raw-captions.pkl"]},
    "msvd.json": {"train": ["train_list.txt", "captions.json"], "test": ["test_list.txt", "captions.json"]},
    "vatex": {"train": ["train_list.txt", "vatex_training_v1.0.json"], "test": ["test_list.txt"]},
    "vatex.dict": {"train": ["train_list.txt", "vatex_data.json"], "test": ["test_list.txt", "vatex_data.json"]},
    "didemo": {"train": ["train_data.json"], "test": ["test_data.json"]},
    "captions.csv": {"train": ["captions.csv"], "test": ["captions.csv"]},
    "captions.json": {"train": ["captions.json"], "test": ["captions.json"]},
    "captions.jsonl": {"train": ["captions.jsonl"], "test": ["captions.jsonl"]},
}
"""By form and split, the files that it is read from."""
EVERY_FILE = [(form, split, name) for form in FORMS for split, names in FILES[form].items() for name in names]


def refused(spec, message, split="train"):
    with pytest.raises(InputError, match=message) as caught:
        spec.clips(split)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


@pytest.mark.parametrize(("form", "split", "name"), EVERY_FILE)
def test_a_missing_file_is_named(tmp_path, form, split, name):
    spec = make(form, tmp_path)
    (tmp_path / name).unlink()
    refused(spec, rf"{tmp_path}/{name}: the annotation file cannot be read: No such file", split)
    with pytest.raises(InputError, match=name):
        spec.check()


@pytest.mark.parametrize(("form", "split", "name"), [case for case in EVERY_FILE if not case[2].endswith(".pkl")])
def test_a_file_that_is_not_utf_8_or_empty_is_named(tmp_path, form, split, name):
    spec = make(form, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + b"\ncaf\xe9")
    refused(spec, rf"{name}:{content.count(10) + 2}: not UTF-8", split)
    (tmp_path / name).write_bytes(content.decode().encode("utf-16"))
    refused(spec, rf"{name}:1: not UTF-8", split)
    (tmp_path / name).write_bytes(content + b"\0")
    refused(spec, rf"{name}:\d+: a NUL", split)
    (tmp_path / name).write_bytes(b" \n")
    refused(spec, rf"{name}(: the list is empty|:2: not JSON)", split)


@pytest.mark.parametrize(("form", "split", "name"), [case for case in EVERY_FILE if "json" in case[2]])
def test_json_that_is_cut_off_or_of_another_shape(tmp_path, form, split, name):
    spec = make(form, tmp_path)
    content = (tmp_path / name).read_text()
    (tmp_path / name).write_text("\n" + content[: len(content) // 2])
    refused(spec, rf"{name}:\d: not JSON: .* · fix: is the file cut off", split)
    for text in ("12", '"text"', "[12]", "[null]", "[" * 100_000):
        (tmp_path / name).write_text(text)
        refused(
            spec, rf"{name}:?\S* (found .* allowed: |no JSON that|no video|no field)|: \d of \d listed videos", split
        )


@pytest.mark.parametrize("form", FORMS)
def test_empty_captions_are_counted_and_listed(tmp_path, form):
    train = {"a": ["a cat", " "], "b": ["\n"], "c": ["", "two dogs"]}
    spec = make(form, tmp_path, train)
    message = refused(
        spec, r": an empty caption, the first of 3: \S+, \S+, \S+ · fix: .*empty_captions: \{kind: skip\}"
    )
    where = message.split(": an empty caption")[0]
    assert where.startswith(f"{tmp_path}/")
    assert where.removeprefix(f"{tmp_path}/").partition(":")[2]


def test_an_empty_caption_of_a_test_video(tmp_path):
    spec = make("msr-vtt", tmp_path, TRAIN, {"a": ["rain"], "b": [" "]})
    refused(spec, r"MSRVTT_JSFUSION_test\.csv:3: an empty caption, the first of 1: ", "test")
    spec = spec.model_validate(spec.model_dump() | {"empty_captions": {"kind": "skip"}})
    assert [clip.captions for clip in spec.clips("test")] == [("rain",)]


@pytest.mark.parametrize("form", ["msr-vtt", "msvd", "msvd.json", "vatex", "vatex.dict"])
def test_listed_videos_without_captions_are_counted(tmp_path, form):
    spec = make(form, tmp_path)
    name = FILES[form]["train"][0]
    with (tmp_path / name).open("a") as file:
        file.write("".join(f"\nnew{number}" for number in range(20)))
    message = refused(spec, rf"{name}:\d+: 20 of 22 listed videos have no caption: new0\.\w+, .*and 12 more")
    assert "empty_captions: {kind: skip}" in message


@pytest.mark.parametrize("form", FORMS)
def test_missing_videos_are_counted_and_the_first_are_named(tmp_path, form):
    train = {f"new{number}": [f"caption {number}"] for number in range(30)}
    spec = make(form, tmp_path, train)
    for number in range(10, 30):
        next(tmp_path.glob(f"new{number}.*")).unlink()
    message = refused(spec, rf"{tmp_path}/\S+: 20 of 30 videos are not in {tmp_path}: new10\.\w+, .* and 12 more · ")
    assert "missing_videos: {kind: skip}" in message
    for number in range(10):
        next(tmp_path.glob(f"new{number}.*")).unlink()
    spec = spec.model_validate(spec.model_dump() | {"missing_videos": {"kind": "skip"}})
    refused(spec, "no video is for train: 30 are listed, 30 have captions, 0 are there")


def test_a_folder_is_no_video(tmp_path):
    spec = make("msvd", tmp_path)
    (tmp_path / "video2.avi").unlink()
    (tmp_path / "video2.avi").mkdir()
    refused(spec, r"1 of 2 videos are not in .*: video2\.avi")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["../escape", "x/../../escape", "/escape"])
def test_a_path_that_leaves_the_root(tmp_path, form, name):
    (tmp_path / "set").mkdir()
    (tmp_path / "escape.mp4").touch()
    spec = write(form, tmp_path / "set", {name: ["a cat"]}, missing_videos={"kind": "skip"})
    refused(spec, rf"{tmp_path}/set/\S+: the path '{name}\.\w+' leaves the root folder {tmp_path}/set · ")


TWICE = {
    "msr-vtt": (
        "MSRVTT_train.9k.csv",
        "\nvideo2\n",
        r"csv:\d: the video 'video2' is listed twice, first in .*csv:2",
    ),
    "msvd": ("train_list.txt", "\nvideo2\n", r"list\.txt:3: the video 'video2' is listed twice, first in .*txt:1"),
    "vatex": ("train_list.txt", "\nvideo2\n", r"list\.txt:3: the video 'video2' is listed twice"),
}


@pytest.mark.parametrize("form", TWICE)
def test_a_video_that_is_listed_twice(tmp_path, form):
    name, text, message = TWICE[form]
    spec = make(form, tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write(text)
    refused(spec, message)


def test_a_video_that_is_described_twice(tmp_path):
    spec = make("vatex", tmp_path)
    path = tmp_path / "vatex_training_v1.0.json"
    entries = json.loads(path.read_text())
    write_json(path, [*entries, entries[0]])
    refused(spec, r"v1\.0\.json:\[2\]: the video 'video2' is listed twice, first in .*training_v1\.0\.json:\[0\]")
    write_json(path, entries)
    write_json(tmp_path / "vatex_validation_v1.0.json", entries[:1])
    refused(spec, r"validation_v1\.0\.json:\[0\]: the video 'video2' is listed twice, first in .*training")
    for form, name in (("msvd.json", "captions.json"), ("vatex.dict", "vatex_data.json")):
        spec = make(form, tmp_path)
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace('"video7"', '"video2"'))
        refused(spec, rf"{name}:1: .*'video2' appears twice in one object")


def test_a_row_of_the_test_table_twice(tmp_path):
    spec = make("msr-vtt", tmp_path)
    with (tmp_path / "MSRVTT_JSFUSION_test.csv").open("a") as file:
        file.write("ret2,msr7,video7,snow falls\r\n")
    refused(spec, r"test\.csv:4: the video 'video7' is listed twice, first in .*csv:2", "test")


# ---- wrong columns and fields

WRONG_FIELDS = {
    "id column": (
        "msr-vtt",
        0,
        "video_id",
        "vidio_id",
        r"csv:1: no column 'video_id' .* did you mean 'vidio_id'\? Rename",
    ),
    "no header": ("msr-vtt", 0, "video_id\r\n", "", r"csv:1: no column 'video_id'"),
    "sentences": ("msr-vtt", 1, '"sentences"', '"sentence"', r"data\.json: .*did you mean 'sentence'"),
    "sentence": ("msr-vtt", 1, '"caption"', '"captoin"', r"sentences\[0\]: no field 'caption' .*'captoin'"),
    "id of a sentence": ("msr-vtt", 1, '"video2"', "2", r"sentences\[0\]: found 2 · allowed: text"),
    "half a character": ("msr-vtt", 1, "a cat", r"\ud83d", r"\[0\]: half a character at position 0"),
    "a number": ("msvd.json", 1, '["a cat runs", "the cat is fast"]', "3", "video2: found 3 · allowed: a list"),
    "nothing": ("msvd.json", 1, '"a cat runs"', "null", r"video2\[0\]: found None · allowed: a list"),
    "word": ("msvd.json", 1, '"a cat runs"', '["a", 2]', r"video2\[0\]: found 2 · allowed: text"),
    "videoID": ("vatex", 1, '"videoID"', '"videoId"', r"\[0\]: .*did you mean 'videoId'"),
    "enCap": ("vatex", 1, '"enCap"', '"enCaps"', r"\[0\]: .*did you mean 'enCaps'"),
    "enCap by id": ("vatex.dict", 1, '"enCap"', '"encap"', r"json:video2: .*did you mean 'encap'"),
    "description": ("didemo", 0, '"description"', '"desciption"', r"\[0\]: .*did you mean 'desciption'"),
    "column": ("captions.csv", 0, "caption,", "captoin,", r"csv:1: no column 'caption'.*'captoin'\? Rename it, or say"),
    "split column": ("captions.csv", 0, "split", "splt", r"csv:1: unknown column 'splt' · fix: did you mean 'split'"),
    "field": ("captions.json", 0, '"captions"', '"captoins"', r"\[0\]: no column 'caption' .* did you mean 'captoins'"),
    "field of a line": ("captions.jsonl", 0, '"split"', '"spilt"', r"jsonl:1: unknown column 'spilt'"),
}


@pytest.mark.parametrize("case", WRONG_FIELDS)
def test_a_wrong_column_or_field_is_named_with_the_likely_one(tmp_path, case):
    form, position, old, new, message = WRONG_FIELDS[case]
    name = FILES[form]["train"][position]
    spec = make(form, tmp_path)
    text = (tmp_path / name).read_bytes().decode()
    assert old in text
    (tmp_path / name).write_bytes(text.replace(old, new).encode())
    refused(spec, message)


def test_the_test_table_without_sentences(tmp_path):
    spec = make("msr-vtt", tmp_path)
    path = tmp_path / "MSRVTT_JSFUSION_test.csv"
    path.write_text(path.read_text().replace("sentence", "sentense"))
    message = refused(spec, r"test\.csv:1: no column 'sentence' .* did you mean 'sentense'\? Rename it$", "test")
    assert "columns" not in message.replace("no column", "")


HEAD = "path,caption,split\n"
WRONG_LISTS = {
    "no caption column": ("csv", "path,split\na.mp4,train\n", r"csv:1: no column 'caption'"),
    "no header": ("csv", "a.mp4,a cat\nb.mp4,a dog\n", r"csv:1: no column 'path'"),
    "header only": ("csv", HEAD, "a header and no clips"),
    "unquoted comma": ("csv", HEAD + "a.mp4,cats, dogs,train\n", r"csv:2: 4 columns, where 3"),
    "no path": ("csv", HEAD + ",cats,train\n", r"csv:2: the path is empty"),
    "no split column": ("csv", "path,caption\na.mp4,cats\n", r"csv:2: the list has no column 'split'"),
    "split of another name": ("csv", HEAD + "a.mp4,x,dev\n", r"csv:2: split is 'dev' .*train, val, test"),
    "two splits": ("csv", HEAD + "a.mp4,x,train\na.mp4,y,test\n", r"csv:3: split is 'test', and 'train'"),
    "two groups": (
        "csv",
        "path,caption,group,split\na.mp4,x,g,train\na.mp4,y,,train\n",
        r"csv:3: group is '', and 'g'",
    ),
    "start after end": ("csv", "path,caption,start,end,split\na.mp4,x,3,2,train\n", r"csv:2: start 3 is not before"),
    "start in words": ("csv", "path,caption,start,split\na.mp4,x,soon,train\n", r"csv:2: start is 'soon'"),
    "column twice": ("csv", "path,caption,caption\na.mp4,x,y\n", r"csv:1: .*'caption' twice"),
    "nothing for train": ("csv", HEAD + "a.mp4,x,test\n", r"no video is for train: 0 are listed"),
    "empty list": ("json", "[]", r"list\.json: the list is empty"),
    "an object for the list": ("json", '{"a.mp4": "x"}', r"list\.json: found .* allowed: a list"),
    "a list for an object": ("json", '[["a.mp4", "x"]]', r"json:\[0\]: found .* allowed: an object"),
    "empty path": ("json", '[{"path": "", "caption": "x", "split": "train"}]', r"json:\[0\]: the path is empty"),
    "no path field": ("json", '[{"caption": "x", "split": "train"}]', r"json:\[0\]: no column 'path'"),
    "path and video": ("json", '[{"path": "a", "video": "a", "caption": "x"}]', r"\[0\]: both 'path' and 'video'"),
    "caption is a number": ("json", '[{"path": "a", "caption": 3}]', r"\[0\]: found 3 · allowed: a list"),
    "one caption is a number": ("json", '[{"path": "a", "captions": ["x", 3]}]', r"\[0\]\.captions\[1\]: found 3"),
    "no captions": ("json", '[{"path": "a.mp4", "captions": [], "split": "train"}]', "an empty caption"),
    "path is a list": ("json", '[{"path": ["a"], "caption": "x"}]', r"\[0\]: path is \['a'\] · allowed: text or"),
    "start is true": ("json", '[{"path": "a", "caption": "x", "start": true}]', r"\[0\]: start is True"),
    "start is NaN": ("json", '[{"path": "a", "caption": "x", "start": NaN}]', r"\[0\]: start is 'nan'"),
    "broken line": ("jsonl", '{"path": "a", "caption": "x"}\n\n{"path"\n', r"jsonl:3: not JSON"),
    "field twice": ("jsonl", '\n{"path": "a", "path": "b"}', r"jsonl:2: .*'path' appears twice"),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_a_wrong_list_of_captions_is_named_by_file_and_line(tmp_path, case):
    suffix, text, message = WRONG_LISTS[case]
    (tmp_path / f"list.{suffix}").write_text(text)
    touch(tmp_path, "a.mp4")
    refused(CaptionsSpec(annotations=f"{tmp_path}/list.{suffix}"), message)


def test_groups_that_are_not_there(tmp_path):
    spec = make("captions.csv", tmp_path, split_by={"kind": "group"})
    refused(spec, r"csv:2: split_by is group, and the list has no column 'group'")
    spec = make("captions.csv", tmp_path, columns={"group": "subject"})
    refused(spec, r"csv:1: no column 'subject'")
    spec = make("captions.csv", tmp_path, split_by={"kind": "file", "test_annotations": f"{tmp_path}/no.csv"})
    refused(spec, r"no\.csv: the annotation file cannot be read", "test")


@pytest.mark.parametrize("name", ["c", "c_12_22", "c_000010_000010", "_000000_000010"])
def test_an_id_of_vatex_without_a_span(tmp_path, name):
    spec = make("vatex", tmp_path, {name: ["x"]}, files="whole-videos")
    refused(spec, rf"train_list\.txt:1: the id '{name}' names no span · allowed: .*files: clips")


def test_captions_of_msvd_in_a_pickle_that_is_not_plain(tmp_path):
    spec = make("msvd", tmp_path)
    (tmp_path / "raw-captions.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused(spec, r"raw-captions\.pkl: the pickle asks for os\.system, and nothing that a file holds is executed")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "msr-vtt", "annotations": "x", "train": "8k"},
        {"kind": "msr-vtt", "annotations": "x", "extension": "mp4"},
        {"kind": "msr-vtt", "annotations": ""},
        {"kind": "msvd"},
        {"kind": "vatex", "annotations": "x", "captions": []},
        {"kind": "vatex", "annotations": "x", "files": "cut"},
        {"kind": "didemo", "annotations": "x", "described_seconds": 0},
        {"kind": "captions", "annotations": "x", "columns": {"path": "caption"}},
        {"kind": "captions", "annotations": "x", "columns": {"label": "x"}},
        {"kind": "captions", "annotations": "x", "empty_captions": "skip"},
        {"kind": "msvd", "annotations": "x", "missing_videos": {"kind": "ignore"}},
    ],
)
def test_fields_that_cannot_be(fields):
    with pytest.raises(ValidationError):
        dataset(fields)


@pytest.mark.parametrize("spec", [MsrVttSpec, MsvdSpec, VatexSpec, DidemoSpec, CaptionsSpec])
def test_a_folder_that_is_not_there(tmp_path, spec):
    with pytest.raises(InputError, match=f"{tmp_path}/no.*cannot be read: No such file"):
        spec(annotations=str(tmp_path / "no")).check()
    with pytest.raises(InputError, match="annotations: the environment variable NO_SUCH"):
        spec(annotations="${NO_SUCH}").check()


def test_the_test_split_is_checked_too(tmp_path):
    spec = make("msvd", tmp_path, TRAIN, {**TEST, "gone": ["x"]})
    (tmp_path / "gone.avi").unlink()
    assert spec.clips("train")
    for ask in (spec.check, spec.prepare, spec.fingerprint):
        with pytest.raises(InputError, match=r"test_list\.txt:3: 1 of 3 videos are not in"):
            ask()

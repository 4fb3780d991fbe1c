import random

import pytest
from pydantic import ValidationError

from side4video.core.errors import InputError
from side4video.data.datasets import ListSpec
from side4video.data.storage import is_file


def listed(folder, text, name="list.csv", **fields):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ListSpec(annotations=str(path), **fields)


SPLIT = "path,label,split\n"
GOOD = SPLIT + "a.mp4,wave,train\nb.mp4,clap,test\n"


def test_a_csv_with_a_header(tmp_path):
    spec = listed(
        tmp_path,
        "\ufefflabel,path,start,end,reversed,split,group,notes\r\n"
        '"throw, catch",x/a b.mp4,0.5,2,yes,train,g1,hello\r\n'
        "wave,c.mp4,,,,test,,\r\n",
    )
    assert spec.classes() == ("throw, catch", "wave")
    (clip,) = spec.clips("train")
    assert (clip.path, clip.label, clip.start_seconds, clip.end_seconds) == (str(tmp_path / "x/a b.mp4"), 0, 0.5, 2.0)
    assert (clip.reversed, clip.group, clip.origin) == (True, "g1", f"{tmp_path}/list.csv:2")
    assert spec.clips("test")[0].label == 1


def test_text_without_a_header(tmp_path):
    listed(tmp_path, "c.mp4 1\n", "test.txt")
    spec = listed(
        tmp_path,
        "a.mp4 0\n\nmy own clip.mp4 2\n",
        split_by={"kind": "file", "test_annotations": f"{tmp_path}/test.txt"},
    )
    assert spec.classes() == ("0", "1", "2")
    assert [clip.label for clip in spec.clips("train")] == [0, 2]
    assert spec.clips("train")[1].path == str(tmp_path / "my own clip.mp4")
    assert spec.clips("train")[1].origin.endswith("list.csv:3")
    assert spec.clips("test")[0].label == 1


def test_tabs_and_whole_number_labels_into_given_classes(tmp_path):
    names = {"kind": "given", "names": ["wave", "clap"]}
    spec = listed(tmp_path, "path\tlabel\tsplit\na.mp4\t1\ttrain\nb.mp4\twave\ttest\n", class_names=names)
    assert [spec.clips(split)[0].label for split in ("train", "test")] == [1, 0]


@pytest.mark.parametrize("text", ["wave\nclap\n", "id,name\n0,wave\n1,clap\n"])
def test_classes_from_a_file(tmp_path, text):
    (tmp_path / "names.txt").write_text(text)
    spec = listed(tmp_path, GOOD, class_names={"kind": "file", "path": f"{tmp_path}/names.txt"})
    assert spec.classes() == ("wave", "clap")
    assert spec.clips("train")[0].label == 0


def test_variables_in_paths(tmp_path, monkeypatch):
    listed(tmp_path, GOOD)
    monkeypatch.setenv("CLIPS", str(tmp_path))
    spec = ListSpec(annotations="${CLIPS}/list.csv")
    assert spec.clips("train")[0].path == str(tmp_path / "a.mp4")
    monkeypatch.delenv("CLIPS")
    with pytest.raises(InputError, match=r"annotations: .*CLIPS"):
        spec.clips("train")


def test_direction_makes_two_samples_of_each_clip(tmp_path):
    spec = listed(
        tmp_path, "path,label,split,reversed\na.mp4,x,train,\nb.mp4,x,test,1\n", task_labels={"kind": "direction"}
    )
    assert spec.classes() == ("forward", "backward")
    assert [(clip.label, clip.reversed) for clip in spec.clips("train")] == [(0, False), (1, True)]
    assert [(clip.label, clip.reversed) for clip in spec.clips("test")] == [(0, True), (1, False)]
    assert spec.flipped_classes() == {0: 0, 1: 1}


def grouped(tmp_path, clips=200, groups=30, **split_by):
    rng = random.Random(0)
    lines = ["path,label,source_video"]
    lines += [
        f"{n}.mp4,{rng.choice('ab')},{f'g{rng.randrange(groups)}' if rng.random() > 0.1 else ''}" for n in range(clips)
    ]
    return listed(tmp_path, "\n".join(lines), columns={"group": "source_video"}, split_by={"kind": "group", **split_by})


def test_a_group_is_never_on_both_sides(tmp_path):
    spec = grouped(tmp_path)
    train, test = spec.clips("train"), spec.clips("test")
    assert len(train) + len(test) == 200
    assert not {clip.group for clip in train} & {clip.group for clip in test}
    assert all(clip.group for clip in test)
    for label in (0, 1):
        of_class = [sum(clip.label == label for clip in clips) for clips in (train, test)]
        assert 0.2 < of_class[1] / sum(of_class) < 0.4
    assert spec.clips("test") == test
    assert grouped(tmp_path, seed=1).clips("test") != test


def test_clips_without_a_group_stand_alone_if_wished(tmp_path):
    spec = grouped(tmp_path, ungrouped="own")
    test = spec.clips("test")
    assert any(not clip.group for clip in test)
    assert any(not clip.group for clip in spec.clips("train"))


def test_the_fingerprint_sees_what_matters_and_not_where_the_folder_is(tmp_path):
    prints = []
    texts = [GOOD, GOOD, GOOD.replace("wave,train", "clap,train"), GOOD.replace("a.mp4", "aa.mp4"), GOOD]
    for number, text in enumerate(texts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"12" if number == 4 else b"1")
        prints.append(listed(folder, text).fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    ("names", "mirrored"),
    [
        (["Push left to right", "Push right to left", "Clap"], {0: 1, 1: 0, 2: 2}),
        (["turn_clockwise", "turn_anticlockwise"], {0: 1, 1: 0}),
        (["spin clockwise", "spin counterclockwise"], {0: 1, 1: 0}),
        (["upright", "copyright"], {0: 0, 1: 1}),
        (["go left", "stop"], None),
        (["left and right"], None),
    ],
)
def test_mirror_images_by_name(tmp_path, names, mirrored):
    spec = listed(tmp_path, GOOD, class_names={"kind": "given", "names": names})
    assert spec.flipped_classes() == mirrored


def test_mirror_images_as_said(tmp_path):
    pairs = {"kind": "pairs", "pairs": [["wave", "clap"]]}
    assert listed(tmp_path, GOOD, mirror=pairs).flipped_classes() == {0: 1, 1: 0}
    assert listed(tmp_path, GOOD, mirror={"kind": "pairs"}).flipped_classes() == {0: 0, 1: 1}
    assert listed(tmp_path, GOOD, mirror={"kind": "refused"}).flipped_classes() is None
    with pytest.raises(InputError, match="'jump' is no class"):
        listed(tmp_path, GOOD, mirror={"kind": "pairs", "pairs": [["wave", "jump"]]}).flipped_classes()


WRONG = {
    "empty file": ("", r"list\.csv: the list is empty"),
    "blank lines only": ("\n \n", "the list is empty"),
    "header only": (SPLIT, "a header and no clips"),
    "no label column": ("path,split\na.mp4,train\n", r"list\.csv:1: no column 'label'"),
    "misspelt label": ("path,lable,split\na.mp4,x,train\n", r"csv:1: .*did you mean 'lable'"),
    "misspelt optional column": ("path,label,revesed,split\na,x,1,train\n", r"csv:1: .*did you mean 'reversed'"),
    "column twice": ("path,label,label\na.mp4,x,y\n", r"csv:1: .*'label' twice"),
    "three columns, no header": ("a.mp4 100 3\n", r"csv:1: 3 columns, where 2"),
    "too few cells": (SPLIT + "a.mp4,x,train\nb.mp4,x\n", r"csv:3: 2 columns, where 3"),
    "too many cells": (SPLIT + "a.mp4,throw, catch,train\n", r"csv:2: 4 columns"),
    "no path": (SPLIT + ",x,train\n", r"csv:2: the path is empty"),
    "no label": (SPLIT + "a.mp4,,train\n", r"csv:2: the label is empty"),
    "not UTF-8": (SPLIT.encode() + b"a.mp4,caf\xe9,train\n", r"csv:2: not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), r"csv:1: not UTF-8"),
    "NUL": (SPLIT + "a\0.mp4,x,train\n", r"csv:2: a NUL"),
    "open quote": (SPLIT + 'a.mp4,"x,train\nb.mp4,y,test\n', r"csv:2: not a table"),
    "start after end": ("path,label,start,end,split\na,x,3,2,train\n", r"csv:2: start 3 is not before end 2"),
    "end at zero": ("path,label,end,split\na,x,0,train\n", r"csv:2: start 0 is not before end 0"),
    "start no number": ("path,label,start,split\na,x,1:30,train\n", r"csv:2: start is '1:30'"),
    "start negative": ("path,label,start,split\na,x,-1,train\n", r"csv:2: start is '-1'"),
    "start nan": ("path,label,start,split\na,x,nan,train\n", r"csv:2: start is 'nan'"),
    "reversed maybe": ("path,label,reversed,split\na,x,maybe,train\n", r"csv:2: reversed is 'maybe'"),
    "split of another name": (SPLIT + "a.mp4,x,train\nb.mp4,x,dev\n", r"csv:3: split is 'dev'.*train, val, test"),
    "no split column": ("path,label\na.mp4,x\n", r"csv:2: the list has no column 'split'"),
    "nothing for test": (SPLIT + "a.mp4,x,train\n", r"no clip is for test"),
    "leaves the root": (SPLIT + "../a.mp4,x,train\n", r"csv:2: .*leaves the root"),
    "leaves the root within": (SPLIT + "x/../../a.mp4,x,train\n", r"csv:2: .*leaves the root"),
    "absolute": (SPLIT + "/tmp/a.mp4,x,train\n", r"csv:2: .*leaves the root"),
    "negative label": (SPLIT + "a.mp4,-1,train\nb.mp4,2,test\n", r"csv:2: label -1 is out of range"),
    "label like a frame count": (SPLIT + "a.mp4,1,train\nb.mp4,1234567,test\n", r"csv:3: label 1234567"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_named_by_file_and_line(tmp_path, case):
    text, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        listed(tmp_path, text).check()
    assert "\n" not in str(caught.value)
    assert "list.csv" in str(caught.value)


WRONG_FIELDS = {
    "label not in classes": ({"class_names": {"kind": "given", "names": ["clap"]}}, r"csv:2: label 'wave' is no class"),
    "missing list": ({"annotations": "/no/list.csv"}, "/no/list.csv: the annotation file cannot be read"),
    "list is a folder": ({"annotations": "/"}, "cannot be read"),
    "missing test list": ({"split_by": {"kind": "file", "test_annotations": "/no/t.csv"}}, "/no/t.csv"),
    "missing class file": ({"class_names": {"kind": "file", "path": "/no/names.txt"}}, r"class_names\.path: /no/names"),
    "mapped column is absent": ({"columns": {"group": "source"}}, r"csv:1: no column 'source'"),
    "no groups": ({"split_by": {"kind": "group"}}, r"no column 'group'"),
}


@pytest.mark.parametrize("case", WRONG_FIELDS)
def test_a_wrong_description_of_a_list(tmp_path, case):
    fields, message = WRONG_FIELDS[case]
    spec = listed(tmp_path, GOOD)
    with pytest.raises(InputError, match=message):
        ListSpec.model_validate(spec.model_dump() | fields).check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class name"),
        ("a\nb\na\n", r"names\.txt:3: the class 'a' is in line 1"),
        ("id,name\n0,a\n2,b\n", r"names\.txt:3: .*without gaps"),
        ("id,name\n0,\n", r"names\.txt:2"),
    ],
)
def test_a_wrong_class_file(tmp_path, text, message):
    (tmp_path / "names.txt").write_text(text)
    spec = listed(tmp_path, GOOD, class_names={"kind": "file", "path": f"{tmp_path}/names.txt"})
    with pytest.raises(InputError, match=message):
        spec.classes()


@pytest.mark.parametrize(
    "fields",
    [
        {"columns": {"group": "split"}},
        {"class_names": {"kind": "given", "names": ["a", "a"]}},
        {"class_names": {"kind": "given", "names": []}},
        {"mirror": {"kind": "pairs", "pairs": [["a", "b"], ["b", "c"]]}},
        {"split_by": {"kind": "group", "test_fraction": 1.0}},
        {"annotations": ""},
    ],
)
def test_fields_that_contradict_themselves(fields):
    with pytest.raises(ValidationError):
        ListSpec.model_validate({"annotations": "list.csv", **fields})


def test_a_list_that_changes_is_read_again(tmp_path):
    assert listed(tmp_path, GOOD).classes() == ("clap", "wave")
    assert listed(tmp_path, GOOD.replace("wave", "waving")).classes() == ("clap", "waving")


@pytest.mark.parametrize("name", ["12:30.mp4", "file:x.mp4", "s3:a.mp4", "a b:c.mp4", "x?bytes=1.mp4", "100%.mp4"])
def test_odd_names_are_names_of_files(tmp_path, name):
    """A colon begins no protocol in a list: only `s3://` and its like do, as `root`."""
    folder = tmp_path / "my:clips"
    folder.mkdir()
    (folder / name).touch()
    spec = listed(folder, f"{SPLIT}{name},0,train\n{name},0,test\n", "list:1.csv")
    (clip,) = spec.clips("train")
    assert clip.path == str(folder / name)
    assert is_file(clip.path)
    assert spec.fingerprint()

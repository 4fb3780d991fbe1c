"""Lists of videos: what their columns are taken for, and the one sentence where they are nothing."""

import json

import pytest

from own_videos import class_folders, put, write_csv
from side4video.apps.init.found_data import read_dataset
from side4video.apps.init.source import find_data
from side4video.core.errors import InputError

EMPTY = b""


@pytest.fixture
def clips(tmp_path):
    """A folder with twelve videos."""
    for number in range(12):
        put(tmp_path / f"{number}.mp4", EMPTY)
    return tmp_path


def refusal(source, **options) -> str:
    with pytest.raises(InputError) as found:
        find_data(str(source), **options)
    assert "\n" not in str(found.value)
    assert found.value.allowed or found.value.fix
    return str(found.value)


def rows(*columns):
    """Twelve rows: the path, then what each function of the number gives."""
    return [[f"{number}.mp4", *(column(number) for column in columns)] for number in range(12)]


def label(number):
    return ("jump", "wave")[number % 2]


def read(found, **more):
    """The clips of the data set that was found, divided at random if it is not."""
    split_by = {} if found.is_divided else {"split_by": {"kind": "random"}}
    spec = read_dataset({**found.dataset, **split_by, **more})
    return {split: spec.clips(split) for split in spec.splits()}


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["path", "label"], None),
        (["video", "class_name"], {"path": "video", "label": "class_name"}),
        (["File Name", "Target"], {"path": "File Name", "label": "Target"}),
        (["recording", "emotion"], {"path": "recording", "label": "emotion"}),
    ],
)
def test_tables_with_labels(clips, header, columns):
    found = find_data(str(write_csv(clips / "list.csv", [header, *rows(label)])))
    assert found.dataset.get("columns") == columns
    assert found.task == "recognition"
    assert sum(map(len, read(found).values())) == 12


@pytest.mark.parametrize("divider", [" ", "\t", ","])
def test_text_without_a_header(clips, divider):
    path = clips / "list.txt"
    path.write_text("".join(f"{divider.join(row)}\n" for row in rows(label)))
    assert sum(map(len, read(find_data(str(path))).values())) == 12


def test_json_lines(clips):
    path = clips / "list.jsonl"
    path.write_text("".join(json.dumps({"video": name, "action": own}) + "\n" for name, own in rows(label)))
    found = find_data(str(path))
    assert found.dataset["columns"] == {"path": "video", "label": "action"}
    assert sum(map(len, read(found).values())) == 12


def test_labels_in_json_are_written_as_lines(clips):
    path = clips / "list.json"
    path.write_text(json.dumps([{"video": name, "action": own, "fps": 25} for name, own in rows(label)]))
    assert find_data(str(path)).new_list[:1] == [{"path": "0.mp4", "label": "jump"}]


@pytest.mark.parametrize("name", ["captions.json", "captions.csv", "captions.jsonl"])
def test_captions(clips, name):
    path = clips / name
    listed = rows(lambda number: f"someone does the thing {number} in a room")
    if name.endswith("csv"):
        write_csv(path, [["video", "description"], *listed])
    else:
        objects = [json.dumps({"video": file, "description": text}) for file, text in listed]
        path.write_text("\n".join(objects) if name.endswith("l") else f"[{','.join(objects)}]")
    found = find_data(str(path))
    assert found.task == "retrieval"
    assert found.dataset["kind"] == "captions"
    assert found.dataset["columns"] == {"path": "video", "caption": "description"}
    assert sum(map(len, read(found).values())) == 12


def test_texts_under_any_name_are_captions(clips):
    texts = rows(lambda number: f"someone does the thing {number} in a room")
    found = find_data(str(write_csv(clips / "list.csv", [["path", "said"], *texts])))
    assert found.dataset["columns"] == {"caption": "said"}


def test_captions_without_texts(clips):
    path = write_csv(clips / "captions.csv", [["path", "width", "height"], *rows(str, str)])
    text = refusal(path, task="retrieval")
    assert "no column of captions: path, width, height" in text
    assert "--set data.dataset.columns.caption=NAME" in text


def test_neither_labels_nor_captions(clips):
    assert "no column of labels or captions" in refusal(
        write_csv(clips / "a.csv", [["path", "w", "h"], *rows(str, str)])
    )


def test_the_user_says_what_a_column_is(clips):
    path = write_csv(clips / "a.csv", [["path", "w", "h"], *rows(label, str)])
    assert find_data(str(path), given={"columns": {"label": "w"}}).dataset["columns"] == {"label": "w"}
    assert "no column 'x'" in refusal(path, given={"columns": {"label": "x"}})


def test_both_labels_and_captions(clips):
    path = write_csv(clips / "a.csv", [["path", "label", "caption"], *rows(label, str)])
    first = find_data(str(path))
    assert (first.task, "--task retrieval" in first.notes[0]) == ("recognition", True)
    assert find_data(str(path), task="retrieval").dataset["kind"] == "captions"


def test_labels_that_are_different_everywhere_are_no_classes_beside_captions(clips):
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label", "caption"], *rows(str, str)])))
    assert found.task == "retrieval"


def test_two_columns_of_labels(clips):
    text = refusal(write_csv(clips / "a.csv", [["path", "class", "target"], *rows(label, label)]))
    assert "'class' and 'target' may both be the label" in text
    assert "--set data.dataset.columns.label=class" in text


@pytest.mark.parametrize(
    ("splits", "wanted"),
    [
        (("train", "test"), {"train", "test"}),
        (("train", "val", "test"), {"train", "val", "test"}),
        (("train", "validation", "test"), {"train", "val", "test"}),
    ],
)
def test_a_column_of_splits(clips, splits, wanted):
    listed = rows(lambda number: label(number // 3), lambda number: splits[number % len(splits)])
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label", "subset"], *listed])))
    assert found.is_divided
    assert set(read(found)) == wanted


def test_a_column_that_says_train_everywhere_divides_nothing(clips):
    listed = rows(label, lambda number: "train")
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label", "split"], *listed])))
    assert not found.is_divided
    assert "'train' everywhere" in found.notes[0]


def test_a_column_of_other_words(clips):
    listed = rows(label, lambda number: ("a", "b")[number % 2])
    text = refusal(write_csv(clips / "a.csv", [["path", "label", "split"], *listed]))
    assert "says a, b" in text
    assert "train and test" in text


@pytest.mark.parametrize("others", [("test",), ("val", "test"), ("val",)])
def test_a_list_for_each_split(clips, others):
    head = ["path", "label"]
    write_csv(clips / "my_train.csv", [head, *rows(label)[:6]])
    for name, part in zip(others, (rows(label)[6:9], rows(label)[9:]), strict=False):
        write_csv(clips / f"my_{name}.csv", [head, *part])
    for source in (clips / "my_train.csv", clips):
        found = find_data(str(source))
        assert found.is_divided
        assert set(read(found)) == {"train", "test"} | set(others) if "test" in others else {"train", "test"}


def test_several_lists(clips):
    for name in ("one.csv", "two.csv"):
        write_csv(clips / name, [["path", "label"], *rows(label)])
    (clips / "README.txt").write_text("Clips of jumps and waves; see the paper.\n")
    text = refusal(clips)
    assert "2 files may be the list: one.csv, two.csv" in text
    assert find_data(str(clips / "one.csv")).task == "recognition"


def test_one_list_beside_other_files(clips):
    write_csv(clips / "labels.csv", [["path", "label"], *rows(label)])
    write_csv(clips / "classes.csv", [["id", "name"], ["0", "jump"], ["1", "wave"]])
    (clips / "README.txt").write_text("Clips of jumps and waves.\n")
    assert find_data(str(clips)).dataset["annotations"] == str(clips / "labels.csv")


def test_a_list_beside_class_folders(tmp_path):
    class_folders(tmp_path, {"jump": 2, "wave": 2}, content=EMPTY)
    listed = [[f"{name}/{number}.mp4", name, f"s{number}"] for name in ("jump", "wave") for number in range(2)]
    write_csv(tmp_path / "labels.csv", [["path", "label", "source"], *listed])
    found = find_data(str(tmp_path))
    assert found.dataset["kind"] == "list"
    assert f"folder:{tmp_path}" in found.notes[-1]
    assert find_data(f"folder:{tmp_path}").dataset["kind"] == "folder"


def test_a_column_of_groups(clips):
    listed = rows(lambda number: label(number // 6), lambda number: f"film {number % 6}")
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label", "source_video"], *listed])))
    assert found.groups == "the column 'source_video'"
    assert found.dataset["columns"] == {"group": "source_video"}


@pytest.mark.parametrize("group", [str, lambda number: "same"])
def test_groups_of_one_clip_or_of_all_are_none(clips, group):
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label", "group"], *rows(label, group)])))
    assert found.groups == ""


@pytest.mark.parametrize("place", ["videos", "../videos", ".."])
def test_videos_in_another_folder(tmp_path, place):
    lists = tmp_path / "set" / "lists"
    root = (lists / place).resolve()
    for number in range(12):
        put(root / f"{number}.mp4", EMPTY)
    found = find_data(str(write_csv(lists / "a.csv", [["path", "label"], *rows(label)])))
    assert found.dataset["root"] == str(root)
    assert sum(map(len, read(found).values())) == 12


def test_absolute_paths(tmp_path, clips):
    listed = [[str(clips / name), own] for name, own in rows(label)]
    found = find_data(str(write_csv(tmp_path / "elsewhere" / "a.csv", [["path", "label"], *listed])))
    assert sum(map(len, read(found).values())) == 12


def test_no_listed_video_is_there(tmp_path):
    text = refusal(write_csv(tmp_path / "a.csv", [["path", "label"], *rows(label)]))
    assert "none of its 12 videos is there; the first is '0.mp4'" in text
    assert "--set data.dataset.root=FOLDER" in text


def test_some_listed_videos_are_missing(clips):
    (clips / "3.mp4").unlink()
    found = find_data(str(write_csv(clips / "a.csv", [["path", "label"], *rows(label)])))
    assert found.missing_share == 1 / 12
    assert "1 of 12 listed videos" in found.notes[0]
    captioned = find_data(str(write_csv(clips / "a.csv", [["path", "caption"], *rows(str)])))
    assert captioned.dataset["missing_videos"] == {"kind": "skip"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "path,label\n", "no videos"),
        ("a.csv", "path;label\n0.mp4;jump\n", "semicolons"),
        ("a.csv", 'path,label\n"0.mp4,jump\n', "not a table"),
        ("a.csv", "path,label\n,jump\n0.mp4,wave\n", "no path"),
        ("a.txt", "0.mp4\n1.mp4\n", "no column of labels or captions"),
        ("a.txt", "Dear reader, all is well.\nYours\n", "no list of videos"),
        ("a.json", "{}", "nothing in it"),
        ("a.json", "[]", "nothing in it"),
        ("a.json", '{"a": 1}', "no list of objects"),
        ("a.json", "[1, 2]", "no list of objects"),
        ("a.json", "{", "not JSON"),
        ("a.jsonl", '{"path": "0.mp4"\n', "not JSON"),
    ],
)
def test_what_is_no_list(clips, name, content, said):
    (clips / name).write_text(content)
    assert said in refusal(clips / name)


def test_bytes_and_videos_are_no_lists(clips):
    (clips / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    assert "UTF-8" in refusal(clips / "a.csv")
    assert "a video, not a list" in refusal(clips / "0.mp4")


@pytest.mark.parametrize("name", ["-a: 'b'.mp4", "two words.mp4", "日本 #1.mp4", 'say "x", y.mp4'])
def test_any_name_in_a_list(tmp_path, name):
    put(tmp_path / name, EMPTY), put(tmp_path / "b.mp4", EMPTY), put(tmp_path / "c.mp4", EMPTY)
    path = write_csv(tmp_path / "a.csv", [["path", "label"], [name, "-x: y"], ["b.mp4", "-x: y"], ["c.mp4", "'z'"]])
    found = find_data(str(path))
    every = [clip.path for clips in read(found).values() for clip in clips]
    assert str(tmp_path / name) in every

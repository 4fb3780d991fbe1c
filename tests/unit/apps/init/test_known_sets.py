"""Known data sets: recognised by their files, with their videos found."""

import json

import pytest

from caption_files import EXTENSIONS, TEST, TRAIN, make, write, write_json
from own_videos import put, write_csv
from side4video.apps.init.found_data import read_dataset
from side4video.apps.init.known_sets import FILES, KINDS, split_kind
from side4video.apps.init.source import find_data
from side4video.core.errors import InputError

EMPTY = b""


def sizes(found):
    spec = read_dataset(found.dataset)
    return {split: len(spec.clips(split)) for split in spec.splits()}


@pytest.mark.parametrize("form", ["msr-vtt", "msvd", "didemo"])
def test_a_folder_of_annotations_and_videos(tmp_path, form):
    make(form, tmp_path)
    found = find_data(str(tmp_path))
    assert found.dataset == {"kind": form, "annotations": str(tmp_path)}
    assert (found.task, found.is_divided) == ("retrieval", True)
    assert sizes(found) == {"train": len(TRAIN), "test": len(TEST)}


@pytest.mark.parametrize("form", ["msr-vtt", "msvd"])
@pytest.mark.parametrize("videos", ["videos", "Some Videos"])
def test_annotations_and_videos_beside_each_other(tmp_path, form, videos):
    (tmp_path / "annotations").mkdir()
    write(form, tmp_path / "annotations")
    for name in {**TRAIN, **TEST}:
        put(tmp_path / videos / f"{name}{EXTENSIONS.get(form, '.mp4')}", EMPTY)
    for source in (tmp_path, tmp_path / "annotations", tmp_path / "annotations" / FILES[form][0]):
        found = find_data(str(source))
        assert found.dataset["kind"] == form
        assert found.dataset["root"] == str(tmp_path / videos)
        assert sum(sizes(found).values()) == len(TRAIN) + len(TEST)


def test_videos_of_another_set_are_not_taken(tmp_path):
    (tmp_path / "msrvtt").mkdir()
    write("msr-vtt", tmp_path / "msrvtt")
    for name in {**TRAIN, **TEST}:
        put(tmp_path / "another" / f"{name}.mp4", EMPTY)
    with pytest.raises(InputError, match="none of the 4 listed videos is there"):
        find_data(str(tmp_path / "msrvtt"))


def test_missing_videos_are_left_out_and_told(tmp_path):
    make("msr-vtt", tmp_path)
    (tmp_path / "video10.mp4").unlink()
    found = find_data(str(tmp_path))
    assert found.dataset["missing_videos"] == {"kind": "skip"}
    assert found.notes == [f"1 of 4 listed videos are not in {tmp_path} and are left out"]
    assert sizes(found) == {"train": 1, "test": 2}


def test_the_list_of_seven_thousand(tmp_path):
    make("msr-vtt", tmp_path)
    (tmp_path / "MSRVTT_train.9k.csv").rename(tmp_path / "MSRVTT_train.7k.csv")
    assert find_data(str(tmp_path)).dataset["train"] == "7k"


def test_the_captions_of_msrvtt_alone(tmp_path):
    splits = {"video0": "train", "video1": "train", "video2": "validate", "video3": "test", "video4": "test"}
    write_json(
        tmp_path / "MSRVTT_data.json",
        {
            "videos": [{"video_id": name, "split": split} for name, split in splits.items()],
            "sentences": [{"video_id": name, "caption": f"{name} shows {n}"} for name in splits for n in range(2)],
        },
    )
    with pytest.raises(InputError, match="none of the 5 videos"):
        find_data(str(tmp_path / "MSRVTT_data.json"))
    for name in list(splits)[:-1]:
        put(tmp_path / "videos" / f"{name}.webm", EMPTY)
    found = find_data(str(tmp_path / "MSRVTT_data.json"))
    assert found.dataset["root"] == str(tmp_path / "videos")
    assert found.new_list[2] == {
        "path": "video2.webm",
        "caption": ["video2 shows 0", "video2 shows 1"],
        "split": "val",
    }
    assert any("not comparable" in note for note in found.notes)
    assert any("1 of 5" in note for note in found.notes)


def kinetics(folder, header="label,youtube_id,time_start,time_end,split"):
    for name, labels in {"train": ("jump", "wave"), "val": ("jump", "wave")}.items():
        rows = [[label, f"{name}{label}", "1", "11", name] for label in labels]
        write_csv(folder / f"{name}.csv", [header.split(","), *rows])
        for label in labels:
            put(folder / f"{name}{label}_000001_000011.mp4", EMPTY)


def test_kinetics_by_its_header(tmp_path):
    kinetics(tmp_path)
    found = find_data(str(tmp_path))
    assert (found.dataset["kind"], found.task) == ("kinetics", "recognition")
    assert sizes(found) == {"train": 2, "test": 2}


def test_other_lists_with_the_names_of_kinetics_are_lists(tmp_path):
    for name in ("train", "val"):
        rows = [[put(tmp_path / f"{name}{n}.mp4", EMPTY).name, ("jump", "wave")[n % 2]] for n in range(4)]
        write_csv(tmp_path / f"{name}.csv", [["path", "label"], *rows])
    found = find_data(str(tmp_path))
    assert found.dataset["kind"] == "list"
    assert sizes(found) == {"train": 4, "test": 4}


def test_something_something(tmp_path):
    for name, ids in {"train": "12", "validation": "34"}.items():
        entries = [{"id": each, "label": "x", "template": "Moving [something]", "placeholders": []} for each in ids]
        write_json(tmp_path / f"something-something-v2-{name}.json", entries)
        for each in ids:
            put(tmp_path / "20bn" / f"{each}.webm", EMPTY)
    write_json(tmp_path / "something-something-v2-labels.json", {"Moving something": "0", "Holding something": "1"})
    found = find_data(str(tmp_path))
    assert found.dataset["kind"] == "something-something-v2"
    assert found.dataset["root"] == str(tmp_path / "20bn")


FOUND = {
    "ucf101": (
        {
            "classInd.txt": "1 YoYo\n2 Archery\n",
            "trainlist01.txt": "YoYo/v_YoYo_g08_c01.avi 1\n",
            "testlist01.txt": "Archery/v_Archery_g01_c01.avi\n",
        },
        ["UCF-101/YoYo/v_YoYo_g08_c01.avi", "UCF-101/Archery/v_Archery_g01_c01.avi"],
        "recognition",
    ),
    "hmdb51": (
        {"brush_hair_test_split1.txt": "a.avi 1\nb.avi 2\n", "wave_test_split1.txt": "c.avi 1\n"},
        ["hmdb/brush_hair/a.avi", "hmdb/brush_hair/b.avi", "hmdb/wave/c.avi"],
        "recognition",
    ),
    "activitynet-captions": (
        {
            "train.json": '{"v_a": {"timestamps": [[0, 1]], "sentences": ["A cat runs."]}}',
            "val_1.json": '{"v_b": {"timestamps": [[0, 1]], "sentences": ["Rain falls."]}}',
        },
        ["videos/v_a.mp4", "videos/v_b.mp4"],
        "retrieval",
    ),
}


@pytest.mark.parametrize("kind", FOUND)
def test_sets_by_the_names_of_their_files(tmp_path, kind):
    files, videos, task = FOUND[kind]
    (tmp_path / "annotations").mkdir()
    for name, text in files.items():
        (tmp_path / "annotations" / name).write_text(text)
    for name in videos:
        put(tmp_path / name, EMPTY)
    found = find_data(str(tmp_path / "annotations"))
    assert (found.dataset["kind"], found.task) == (kind, task)
    assert found.dataset["root"] == str(tmp_path / videos[0].partition("/")[0])
    assert sum(sizes(found).values()) == len(videos)


def test_a_kind_before_the_path(tmp_path):
    make("msr-vtt", tmp_path)
    assert find_data(f"msr-vtt:{tmp_path}").dataset["kind"] == "msr-vtt"
    with pytest.raises(InputError) as refused:
        find_data(f"vatex:{tmp_path}")
    assert "vatex_training" in str(refused.value) or "train_list" in str(refused.value)
    with pytest.raises(InputError, match="needs a folder"):
        find_data(f"msr-vtt:{tmp_path / 'MSRVTT_data.json'}")
    with pytest.raises(InputError, match="needs no videos"):
        find_data("motion")


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "list:a", EMPTY)
    assert split_kind("list:a") == ("", "list:a")
    assert split_kind("list:b") == ("list", "b")
    assert split_kind("mine:b") == ("", "mine:b")


def test_every_kind_that_is_recognised_is_one():
    assert set(FILES) <= set(KINDS)


def test_a_damaged_file_is_a_sentence(tmp_path):
    make("msr-vtt", tmp_path)
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps({"videos": [], "sentences": [{"caption": "a"}]}))
    with pytest.raises(InputError, match="video_id"):
        find_data(str(tmp_path))

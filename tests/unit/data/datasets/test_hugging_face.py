"""Data sets that `datasets` saved to disk, read without it."""

import json

import pytest

from side4video.core.errors import InputError
from side4video.data.storage import read_bytes
from video_sets import CLASSES, CLIPS, assert_same, batches, dataset, make_list, write_arrow

SPLITS = {"kind": "splits", "test": "validation"}


@pytest.fixture
def plain(tmp_path):
    make_list(tmp_path / "clips")
    rows = ["path,label,split"]
    rows += [f"{s}/{n}.mp4,{CLASSES[n % 2]},{s}" for s, count in CLIPS.items() for n in range(count)]
    (tmp_path / "clips/list.csv").write_text("\n".join(rows))
    return {"kind": "list", "annotations": str(tmp_path / "clips/list.csv")}


def rows(tmp_path, split, *, embeds=True):
    return [
        {
            "video": {
                "bytes": (tmp_path / "clips" / split / f"{n}.mp4").read_bytes() if embeds else None,
                "path": f"{split}/{n}.mp4",
            },
            "label": n % 2,
            "text": [f"clip {n}"],
            "source": f"{n // 2}",
        }
        for n in range(CLIPS[split])
    ]


@pytest.fixture
def saved(tmp_path, plain):
    root = tmp_path / "saved"
    write_arrow(root / "train", rows(tmp_path, "train"), names=CLASSES)
    write_arrow(root / "validation", rows(tmp_path, "test"), names=CLASSES)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    return {"kind": "hugging-face", "root": str(root), "split_by": SPLITS}


def test_rows_read_as_the_files_in_them(tmp_path, plain, saved):
    assert dataset(saved).classes() == CLASSES
    assert_same(batches(saved), batches(plain))
    for clip, number in zip(dataset(saved).clips("train"), range(6), strict=True):
        assert read_bytes(clip.path) == (tmp_path / "clips/train" / f"{number}.mp4").read_bytes()


def test_captions_and_columns(saved):
    clips = dataset(saved | {"label": "", "captions": "text"}).clips("test")
    assert [clip.captions for clip in clips] == [(f"clip {n}",) for n in range(4)]
    assert {clip.label for clip in clips} == {None}


def test_one_split_is_divided_by_groups(tmp_path, plain):
    root = write_arrow(tmp_path / "single", rows(tmp_path, "train"), names=CLASSES)
    by_group = {"kind": "group", "test_fraction": 0.34, "ungrouped": "own"}
    one = dataset({"kind": "hugging-face", "root": str(root), "group": "source", "split_by": by_group})
    train, test = ({clip.group for clip in one.clips(split)} for split in ("train", "test"))
    assert train | test == {"0", "1", "2"}
    assert not train & test


def test_paths_in_rows_stay_in_their_folder(tmp_path, plain):
    root = tmp_path / "paths"
    write_arrow(root / "train", rows(tmp_path, "train", embeds=False), names=CLASSES)
    write_arrow(root / "test", rows(tmp_path, "test", embeds=False), names=CLASSES)
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    document = {"kind": "hugging-face", "root": str(root)}
    with pytest.raises(InputError, match=r"it holds a path .* and no bytes"):
        dataset(document).clips("train")
    assert_same(batches(document | {"videos_root": str(tmp_path / "clips")}), batches(plain))
    outside = [{**row, "video": {"bytes": None, "path": "../secret.mp4"}} for row in rows(tmp_path, "train")]
    write_arrow(root / "outside", outside, names=CLASSES)
    (root / "dataset_dict.json").write_text('{"splits": ["outside", "test"]}')
    named = document | {"videos_root": str(tmp_path / "clips"), "split_by": {"kind": "splits", "train": "outside"}}
    with pytest.raises(InputError, match=r"the path '\.\./secret\.mp4' leaves the root folder"):
        dataset(named).clips("train")


def test_a_changed_byte_count_changes_the_fingerprint(tmp_path, saved):
    before = dataset(saved).fingerprint()
    longer = rows(tmp_path, "test")
    longer[2]["video"]["bytes"] += b"\0"
    for path in (tmp_path / "saved/validation").iterdir():
        path.unlink()
    (tmp_path / "saved/validation").rmdir()
    write_arrow(tmp_path / "saved/validation", longer, names=CLASSES)
    assert dataset(saved).fingerprint() != before


def test_mistakes_are_named(tmp_path, saved):
    for change, message in [
        ({"root": str(tmp_path / "none")}, "there is no such folder"),
        ({"root": str(tmp_path / "clips")}, "neither dataset_dict.json nor state.json"),
        ({"split_by": {"kind": "splits"}}, "no split 'test' .* allowed: train, validation"),
        ({"video": "clip"}, "no column 'clip' · allowed: video, label, text, source"),
        ({"video": "source"}, "the column 'source' is string"),
        ({"root": "s3://bucket/set"}, "a folder of this machine"),
    ]:
        with pytest.raises(InputError, match=message):
            dataset(saved | change).clips("test")
    (tmp_path / "parquet/data").mkdir(parents=True)
    (tmp_path / "parquet/data/train-00000-of-00001.parquet").touch()
    with pytest.raises(InputError, match=r"Parquet files .* fix: python -c 'import datasets; .*save_to_disk"):
        dataset(saved | {"root": str(tmp_path / "parquet")}).clips("test")
    (tmp_path / "saved/train/data-00000-of-00002.arrow").write_bytes(b"no arrow")
    with pytest.raises(InputError, match="not an Arrow stream"):
        dataset(saved).clips("train")

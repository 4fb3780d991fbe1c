"""Tar shards of others: samples by name, members read where they lie."""

import gzip
import json

import pytest

from loopback_store import loopback_store
from side4video.core.errors import InputError
from side4video.data.datasets.webdataset import expand_braces
from side4video.data.storage import read_bytes
from video_sets import CLASSES, CLIPS, assert_same, batches, dataset, make_list, write_tar


@pytest.fixture
def plain(tmp_path):
    """The clips as a list without spans, for comparison."""
    make_list(tmp_path / "clips")
    rows = ["path,label,split"]
    rows += [f"{s}/{n}.mp4,{CLASSES[n % 2]},{s}" for s, count in CLIPS.items() for n in range(count)]
    (tmp_path / "clips/list.csv").write_text("\n".join(rows))
    return {"kind": "list", "annotations": str(tmp_path / "clips/list.csv")}


def shards(tmp_path, about, per_shard=4):
    """The same clips, so many a shard; `about` gives the other members of a sample."""
    for split, count in CLIPS.items():
        members = {}
        for number in range(count):
            content = (tmp_path / "clips" / split / f"{number}.mp4").read_bytes()
            members[number // per_shard] = members.get(number // per_shard, {}) | {
                f"{split}/{number}.mp4": content,
                **{f"{split}/{number}.{ending}": text.encode() for ending, text in about(number).items()},
            }
        for shard, some in members.items():
            write_tar(tmp_path / "shards" / f"{split}-{shard:03d}.tar", some)
    return {"kind": "webdataset", "root": str(tmp_path / "shards")}


FORMS = {
    "positions": lambda n: {"cls": f"{n % 2}\n"},
    "names": lambda n: {"cls": CLASSES[n % 2]},
    "json": lambda n: {"json": json.dumps({"label": n % 2, "other": [1]})},
    "class": lambda n: {"json": json.dumps({"class": CLASSES[n % 2]})},
}


@pytest.mark.parametrize("form", FORMS)
def test_shards_read_as_the_files_in_them(tmp_path, plain, form):
    document = shards(tmp_path, FORMS[form])
    assert [clip.label for clip in dataset(document).clips("train")] == [0, 1] * 3
    assert_same(batches(document), batches(plain))


def test_shards_behind_a_server(tmp_path, plain):
    document = shards(tmp_path, FORMS["names"])
    with loopback_store(tmp_path) as server:
        remote = document | {"root": f"{server.address}/shards"}
        assert dataset(remote).fingerprint() == dataset(document).fingerprint()
        assert_same(batches(remote), batches(plain))


def test_captions(tmp_path, plain):
    both = lambda n: {"txt": f"clip {n}\nagain\n", "json": json.dumps({"captions": ["left out: txt counts"]})}  # noqa: E731
    clips = dataset(shards(tmp_path, both)).clips("test")
    assert [clip.captions for clip in clips] == [(f"clip {n}", "again") for n in range(4)]
    assert {clip.label for clip in clips} == {None}


def test_members_are_read_where_they_lie(tmp_path, plain):
    document = shards(tmp_path, FORMS["names"])
    for clip in dataset(document).clips("train"):
        assert read_bytes(clip.path) == (tmp_path / "clips" / f"{clip.name}.mp4").read_bytes()


def test_names_and_patterns(tmp_path, plain):
    document = shards(tmp_path, FORMS["names"])
    named = document | {"train": "train-{000..001}.tar", "test": "test-000.tar"}
    assert dataset(named).fingerprint() == dataset(document).fingerprint()
    assert expand_braces("a-{08..11}-{0..1}.tar", "") == [f"a-{n:02d}-{m}.tar" for n in range(8, 12) for m in (0, 1)]


def test_samples_without_a_video_and_leftovers_are_no_clips(tmp_path, plain):
    document = shards(tmp_path, FORMS["names"])
    write_tar(tmp_path / "shards/train-009.tar", {"x.txt": b"no video", "._y.mp4": b"x", "__MACOSX/z.mp4": b"x"})
    assert len(dataset(document).clips("train")) == 6


def spoil(tmp_path, what):
    shard = tmp_path / "shards/train-000.tar"
    if what == "compressed":
        shard.write_bytes(gzip.compress(shard.read_bytes()))
    elif what == "cut":
        shard.write_bytes(shard.read_bytes()[:3000])
    elif what == "gone":
        shard.unlink()
    elif what == "twice":
        write_tar(shard, {"a.mp4": b"1", "b/../a.mp4": b"2", "a.cls": b"0", "a.CLS": b"1"})
    elif what == "bare":
        write_tar(shard, {"a.mp4": b"1", "a.cls": b"0", "b.mp4": b"2"})
    elif what == "json":
        write_tar(shard, {"a.mp4": b"1", "a.json": b"{"})
    elif what == "nested":
        write_tar(shard, {"a.mp4": b"1", "a.json": b'{"label": ["x"]}'})


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("compressed", "not an uncompressed tar archive"),
        ("cut", r"train-000\.tar"),
        ("gone", "there is no such archive"),
        ("twice", "the name appears twice in the shard"),
        ("bare", "it has no label, and others have"),
        ("json", r"a\.json: not JSON"),
        ("nested", "neither text nor number"),
    ],
)
def test_mistakes_are_named(tmp_path, plain, what, message):
    document = shards(tmp_path, FORMS["names"]) | {"train": "train-{000..001}.tar"}
    spoil(tmp_path, what)
    with pytest.raises(InputError, match=message):
        dataset(document).clips("train")


@pytest.mark.parametrize(
    ("train", "message"),
    [("../a.tar", "names of files in `root`"), ("b-*.tar", "no shard 'b-"), ("a-{5..2}.tar", "numbers that rise")],
)
def test_patterns_that_name_nothing(tmp_path, plain, train, message):
    document = shards(tmp_path, FORMS["names"]) | {"train": train}
    with pytest.raises(InputError, match=message):
        dataset(document).clips("train")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.mp4", "a.cls", "b.1.mp4", "b.1.cls"), r"field '1\.mp4' of the sample 'b', no video .*rename it"),
        (("x/a.b.c.webm", "x/a.b.c.cls"), r"field 'b\.c\.webm' of the sample 'x/a', no video"),
        (("a.mp4", "a.cls", "v2.0 clip.mkv", "v2.0 clip.json"), r"field '0 clip\.mkv' of the sample 'v2', no video"),
        (("a.mp4", "a.cls", "b.flv", "b.cls"), r"b: no video; its fields are cls, flv .*data\.dataset\.videos"),
        (("a.mp4", "a.cls", "b.cls"), r"b: no video; its fields are cls"),
        (("a.mp4", "a.cls", "a.1.mp4", "a.1.cls"), r"field '1\.mp4' of the sample 'a', no video .*rename it"),
        (("a.mp4", "a.txt", "a.b.mov", "a.b.txt"), r"field 'b\.mov' of the sample 'a', no video"),
        (("a.mp4", "a.txt", "b.flv", "b.txt"), r"b: no video; its fields are flv, txt"),
        (("a.mp4", "a.txt", "b.jpg", "b.txt", "b.json"), r"b: no video; its fields are jpg, json, txt"),
    ],
)
def test_a_sample_that_would_be_left_out_is_named(tmp_path, names, reason):
    for split in ("train", "test"):
        write_tar(tmp_path / f"{split}-000.tar", {name: b"0" if name.endswith("cls") else b"{}" for name in names})
    with pytest.raises(InputError, match=reason):
        dataset({"kind": "webdataset", "root": str(tmp_path)}).clips("train")


@pytest.mark.parametrize("name", ["README.txt", "sizes.json", "a.thumb.mp4", "a.1.npy", "._b.mp4", "notes.md"])
def test_what_is_no_sample_is_left_out(tmp_path, name):
    for split in ("train", "test"):
        write_tar(tmp_path / f"{split}-000.tar", {"a.mp4": b"0", "a.cls": b"0", name: b"{}"})
    (clip,) = dataset({"kind": "webdataset", "root": str(tmp_path)}).clips("train")
    assert clip.name == "a"

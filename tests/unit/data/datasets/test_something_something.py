"""Something-Something v1 and v2 from their original files; true samples, if they are there."""

import json
import os
from pathlib import Path

import pytest

from caption_files import dataset, touch
from side4video.core.errors import InputError
from side4video.data.annotations.flip_labels import flip_text

SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or Path(__file__).resolve().parents[5] / "shared" / "data")
SAMPLES = SHARED / "annotations"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of annotations are not on this machine")

NAMES = [
    "Holding something",
    "Pulling something from left to right",
    "Pulling something from right to left",
    "Plugging something in but pulling it right out as you remove your hand",
]
IN_ALPHABET = tuple(sorted(NAMES))
V1 = "something-something-v1"
V2 = "something-something-v2"
AUTHORS_PAIRS = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
"""What the authors' code swaps when it flips a clip, for both versions."""


def write(kind, folder, train, test=None, **fields):
    """The files of a version: videos by id and class name; or a text, as it stands."""
    names = dict(zip(IN_ALPHABET, map(str, range(4)), strict=True))
    labels = "\n".join(NAMES) if kind == V1 else json.dumps(names)
    files = {f"{kind}-labels.{'csv' if kind == V1 else 'json'}": labels}
    for split, listed in (("train", train), ("validation", train if test is None else test)):
        if kind == V1:
            text = listed if isinstance(listed, str | bytes) else "".join(f"{n};{label}\n" for n, label in listed)
        else:
            text = listed if isinstance(listed, str | bytes) else json.dumps([_entry(*each) for each in listed])
        files[f"{kind}-{split}.{'csv' if kind == V1 else 'json'}"] = text
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return dataset({"kind": kind, "annotations": str(folder), **fields})


def _entry(name, label):
    template = label.replace("something", "[something]")
    return {"id": name, "label": label.lower(), "template": template, "placeholders": ["cup"]}


TRAIN = [("100218", NAMES[0]), ("24413", NAMES[2])]
TEST = [("7", NAMES[3])]


def make_folders(folder, names):
    for name in names:
        (folder / name).mkdir()


@pytest.mark.parametrize("kind", [V1, V2])
def test_the_official_files(tmp_path, kind):
    if kind == V1:
        make_folders(tmp_path, ["100218", "24413", "7"])
    else:
        for name in ("100218", "24413", "7"):
            touch(tmp_path, f"{name}.webm")
    spec = write(kind, tmp_path, TRAIN, TEST)
    assert spec.classes() == IN_ALPHABET
    clips = [*spec.clips("train"), *spec.clips("test")]
    assert [Path(clip.path).name.removesuffix(".webm") for clip in clips] == ["100218", "24413", "7"]
    assert [spec.classes()[clip.label] for clip in clips] == [NAMES[0], NAMES[2], NAMES[3]]
    assert {clip.frame_pattern for clip in clips} == {"{:05d}.jpg" if kind == V1 else ""}
    assert clips[1].origin.endswith("train.csv:2" if kind == V1 else "train.json:[1]")
    assert spec.flipped_classes() == {0: 0, 1: 1, 2: 3, 3: 2}
    assert spec.fingerprint() == spec.fingerprint() != write(kind, tmp_path, TRAIN[:1], TEST).fingerprint()
    spec.check()


@pytest.mark.parametrize("kind", [V1, V2])
@pytest.mark.parametrize("form", ["folders", "videos"])
def test_the_lists_of_papers_code(tmp_path, kind, form):
    pattern = "img_{:05d}.jpg" if form == "folders" else ""
    if pattern:
        make_folders(tmp_path, ["11", "12"])
    else:
        touch(tmp_path, "11.webm")
        touch(tmp_path, "12.webm")
    lists = {"train_list": "train.txt", "test_list": "test.txt", "format": "list", "frame_pattern": pattern}
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("11 42 3\n12 57 0\n")
    spec = write(kind, tmp_path, TRAIN, **lists)
    assert [clip.label for clip in spec.clips("train")] == [3, 0]
    assert {clip.frame_pattern for clip in spec.clips("test")} == {pattern}


def test_the_order_of_the_classes_of_version_1(tmp_path):
    assert write(V1, tmp_path, TRAIN).classes() == IN_ALPHABET != tuple(NAMES)
    assert write(V1, tmp_path, TRAIN, class_order="file").classes() == tuple(NAMES)


@pytest.mark.parametrize("kind", [V1, V2])
def test_no_flip_where_a_class_has_no_partner(tmp_path, kind):
    spec = write(kind, tmp_path, TRAIN)
    path = next(tmp_path.glob("*-labels.*"))
    path.write_text(path.read_text().replace("right to left", "the right"))
    assert spec.flipped_classes() is None
    assert write(kind, tmp_path, TRAIN, mirror={"kind": "refused"}).flipped_classes() is None
    pairs = {"kind": "pairs", "pairs": [[NAMES[1], NAMES[2]]]}
    assert write(kind, tmp_path, TRAIN, mirror=pairs).flipped_classes() == {0: 0, 1: 1, 2: 3, 3: 2}


def test_right_out_says_no_side():
    assert flip_text("pulling it right out, to the right, outside") == "pulling it right out, to the left, outside"
    assert flip_text("moving right outside") == "moving left outside"


WRONG = {
    V1: {
        "unknown class": ("1;Holding anything\n", r"train\.csv:1: label 'Holding anything' is no class.*did you mean"),
        "out of range": ("1;4\n", r"train\.csv:1: label 4 is out of range"),
        "no label": ("1;Holding something\n2\n", r"train\.csv:2: found '2'.*allowed: id;label"),
        "no id": (";Holding something\n", r"train\.csv:1: found"),
        "a list": ("100218 42 134\n", r"train\.csv:1: found '100218 42 134'.*format: list"),
        "twice": ("1;Holding something\n1;Holding something\n", r"train\.csv:2: .*'1' is listed twice"),
        "empty": ("\n", "the list is empty"),
        "not UTF-8": (b"1;Holding something\n2;caf\xe9\n", r"train\.csv:2: not UTF-8"),
        "leaves the root": ("../1;Holding something\n", r"train\.csv:1: .*leaves the root"),
        "missing": ("1;Holding something\n", r"train\.csv:1: 1 of 1 videos are not in .*: 1"),
    },
    V2: {
        "unknown class": ([("1", "Holding anything")], r"train\.json:\[0\]: label 'Holding anything' is no class"),
        "no template": ('[{"id": "1"}]', r"train\.json:\[0\]: no field 'template'"),
        "misspelt": ('[{"id": "1", "templates": ""}]', r"train\.json:\[0\]: no field 'template'.*did you mean"),
        "id is a number": ('[{"id": 1, "template": "Holding [something]"}]', r"train\.json:\[0\]: found 1.*text"),
        "empty id": ('[{"id": "", "template": "Holding [something]"}]', r"train\.json:\[0\]: the id is empty"),
        "an object": ("{}", r"train\.json: found {}.*a list"),
        "no JSON": ("[{", r"train\.json:1: not JSON"),
        "twice": ([("1", NAMES[0])] * 2, r"train\.json:\[1\]: .*'1' is listed twice"),
        "empty": ("[]", "the list is empty"),
        "not UTF-8": (b'[\n"\xe9"]', r"train\.json:2: not UTF-8"),
        "leaves the root": ([("../1", NAMES[0])], r"train\.json:\[0\]: .*leaves the root"),
        "missing": ([("1", NAMES[0])], r"train\.json:\[0\]: 1 of 1 videos are not in .*: 1\.webm"),
    },
}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in WRONG.items() for case in cases])
def test_a_wrong_list_is_named_by_file_and_line(tmp_path, kind, case):
    listed, message = WRONG[kind][case]
    with pytest.raises(InputError, match=message) as caught:
        write(kind, tmp_path, listed).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [V1, V2])
def test_missing_videos_may_be_left_out(tmp_path, kind):
    (tmp_path / "24413").mkdir()
    touch(tmp_path, "24413.webm")
    spec = write(kind, tmp_path, TRAIN, missing_videos={"kind": "skip"})
    assert [clip.label for clip in spec.clips("train")] == [3]


@needs_samples
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (V2, f"ssv2/{V2}-labels.json"),
        (V2, "ssv2/sth_labels.csv"),
        (V1, f"ssv1/{V1}-labels.mmaction2_label_map.txt"),
    ],
)
def test_the_mirror_images_are_the_authors(kind, names):
    spec = dataset({"kind": kind, "annotations": str(SAMPLES), "class_names": names})
    assert len(spec.classes()) == 174
    mirrored = spec.flipped_classes()
    assert {label: other for label, other in mirrored.items() if label != other} == AUTHORS_PAIRS
    assert len(mirrored) == 174


@needs_samples
def test_in_the_order_of_mmaction_2_other_numbers_are_mirror_images():
    labels = f"ssv1/{V1}-labels.mmaction2_label_map.txt"
    fields = {"kind": V1, "annotations": str(SAMPLES), "class_names": labels, "class_order": "file"}
    mirrored = dataset(fields).flipped_classes()
    lines = (SAMPLES / labels).read_text().splitlines()
    swapped = {(lines[label], lines[other]) for label, other in mirrored.items() if label < other}
    assert len(swapped) == 3
    assert all(sorted(one.split()) == sorted(two.split()) or "camera" in one for one, two in swapped)
    assert {label for label, other in mirrored.items() if label != other} != set(AUTHORS_PAIRS)


@needs_samples
def test_true_entries_of_version_2(tmp_path):
    folder = SAMPLES / "ssv2"
    raw = (folder / f"{V2}-train.json").read_text()
    entries = json.loads(raw)
    for entry in entries:
        touch(tmp_path, f"{entry['id']}.webm")
    spec = dataset({"kind": V2, "annotations": str(folder), "root": str(tmp_path), "test_list": f"{V2}-train.json"})
    clips = spec.clips("train")
    assert len(clips) == raw.count('"template"') == 4
    positions = json.loads((folder / f"{V2}-labels.json").read_text())
    assert spec.classes() == tuple(sorted(positions, key=lambda name: int(positions[name])))
    listed = dict(line.split()[::2] for line in _lines("ssv2/train_rgb_ffmpeg.head50.txt"))
    known = [(clip.label, int(listed[entry["id"]])) for clip, entry in zip(clips, entries, strict=True)
             if entry["id"] in listed]  # fmt: skip
    assert len(known) >= 2
    assert all(ours == authors for ours, authors in known)


@needs_samples
@pytest.mark.parametrize(
    "name",
    [f"{name}.head50.txt" for name in ("train_rgb_ffmpeg", "val_rgb_ffmpeg", "val_rgb_opencv", "test_rgb_ffmpeg")],
)
def test_true_lists_of_version_2(tmp_path, name):
    make_folders(tmp_path, [line.split()[0] for line in _lines(f"ssv2/{name}")])
    fields = {"kind": V2, "annotations": str(SAMPLES / "ssv2"), "root": str(tmp_path), "format": "list"}
    spec = dataset({**fields, "train_list": name, "test_list": name, "frame_pattern": "img_{:05d}.jpg"})
    clips = spec.clips("train")
    assert [(Path(clip.path).name, str(clip.label)) for clip in clips] == [
        (line.split()[0], line.split()[2]) for line in _lines(f"ssv2/{name}")
    ]
    assert len(clips) == 50


@needs_samples
def test_true_files_of_version_1(tmp_path):
    folder = SAMPLES / "ssv1"
    lists = {"train": "train_rgb.head50.txt", "test": "val_rgb.head50.txt"}
    official = [line.split(";") for line in _lines(f"ssv1/{V1}-train.csv")]
    listed = [line.split() for name in lists.values() for line in _lines(f"ssv1/{name}")]
    make_folders(tmp_path, {name for name, *_ in [*official, *listed]})
    fields = {"kind": V1, "annotations": str(folder), "root": str(tmp_path)}
    fields |= {"class_names": f"{V1}-labels.mmaction2_label_map.txt"}
    spec = dataset({**fields, "test_list": f"{V1}-train.csv"})
    assert [spec.classes()[clip.label] for clip in spec.clips("train")] == [label for _, label in official]
    of_code = dataset({**fields, "format": "list", "train_list": lists["train"], "test_list": lists["test"]})
    clips = [*of_code.clips("train"), *of_code.clips("test")]
    assert [clip.label for clip in clips] == [int(label) for *_, label in listed]
    assert len(clips) == 100
    # One video stands in both the official file and the authors' list: the order of the classes is theirs.
    label = {Path(clip.path).name: clip.label for clip in clips}
    assert [label.get(Path(clip.path).name, clip.label) for clip in spec.clips("train")] == [134, 172]


def _lines(name):
    return (SAMPLES / name).read_text().splitlines()

"""Each finding: a clean set has none, and the same set with one thing spoilt has this one alone."""

import shutil

import pytest
from PIL import Image

from checked_sets import FRAMES, check, data_of, list_rows, write_captions, write_clip, write_list
from side4video.apps.data_check.listing import list_clips
from side4video.apps.data_check.report import make_report
from side4video.core.errors import InputError


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SPOILT = {
    "a file is gone": (lambda folder: (folder / "b.mp4").unlink(), "missing", "train", "b.mp4", "no such file"),
    "a folder stands there": (
        lambda folder: ((folder / "b.mp4").unlink(), (folder / "b.mp4").mkdir()),
        "missing",
        "train",
        "b.mp4",
        "no such file",
    ),
    "a file is cut": (lambda folder: cut(folder / "e.mp4"), "broken", "test", "e.mp4", ""),
    "a file is empty": (lambda folder: (folder / "f.mp4").write_bytes(b""), "broken", "test", "f.mp4", "is empty"),
    "a file is text": (
        lambda folder: (folder / "a.mp4").write_text("<html>404</html>"),
        "broken",
        "train",
        "a.mp4",
        "web page",
    ),
    "a clip is short": (
        lambda folder: write_clip(folder / "c.mp4", 99, frames=3),
        "too_short",
        "train",
        "c.mp4",
        "3 frames, and data.frames is 4",
    ),
    "a clip is on both sides": (
        lambda folder: shutil.copy(folder / "d.mp4", folder / "f.mp4"),
        "duplicated",
        "test",
        "f.mp4",
        "d.mp4",
    ),
}


@pytest.mark.parametrize("form", ["list", "captions", "captions, gaps left out"])
@pytest.mark.parametrize("spoilt", ["nothing", *SPOILT])
def test_each_finding_and_no_other(folder, pool, tmp_path, form, spoilt):
    if form == "list":
        dataset = write_list(folder, list_rows())
    else:
        gaps = {"missing_videos": {"kind": "skip"}} if "gaps" in form else {}
        dataset = write_captions(folder, **gaps)
    if spoilt != "nothing":
        SPOILT[spoilt][0](folder)
    checked, problems = check(data_of(dataset), pool, tmp_path / "kept.json")
    assert {split: len(clips) for split, clips in checked.listing.splits.items()} == {"train": 4, "test": 2}
    if form == "captions" and spoilt != "nothing" and SPOILT[spoilt][1] == "missing":
        *problems, refused = problems
        assert refused.kind == "refused"
        assert "1 of 4 videos are not in" in refused.reason
        assert checked.listing.fingerprint == ""
    else:
        assert checked.listing.fingerprint == data_of(dataset).dataset.fingerprint()
    if spoilt == "nothing":
        assert problems == []
        return
    _, kind, split, name, reason = SPOILT[spoilt]
    assert [(each.kind, each.split, each.path) for each in problems] == [(kind, split, str(folder / name))]
    assert reason in problems[0].reason
    assert problems[0].origin.startswith(str(folder))


def test_the_same_size_is_not_the_same_file(folder, pool, tmp_path):
    """Only files of one size are hashed; a byte more or another byte is another file."""
    data = data_of(write_list(folder, list_rows()))
    whole = (folder / "d.mp4").read_bytes()
    (folder / "f.mp4").write_bytes(whole + b"\0")
    checked, problems = check(data, pool, tmp_path / "kept.json")
    assert problems == []
    assert str(folder / "f.mp4") not in checked.digests
    (folder / "f.mp4").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    checked, problems = check(data, pool, tmp_path / "kept.json")
    assert [each for each in problems if each.kind == "duplicated"] == []
    assert {str(folder / name) for name in ("d.mp4", "f.mp4")} <= checked.digests.keys()


@pytest.mark.parametrize(("start", "is_twin"), [("0.4", False), ("0.3", True)])
def test_spans_of_one_file_are_the_same_only_where_they_overlap(folder, pool, tmp_path, start, is_twin):
    rows = [["a.mp4", "waving", "train", "0", "0.4"], ["a.mp4", "waving", "test", start, ""]]
    data = data_of(write_list(folder, rows), frames=2)
    _, problems = check(data, pool, tmp_path / "kept.json")
    assert [each.kind for each in problems] == ["duplicated"] * is_twin


@pytest.mark.parametrize(("captions", "problem"), [("[]", "without_caption"), ('["", "one"]', None)])
def test_empty_captions(folder, pool, tmp_path, captions, problem):
    dataset = write_captions(folder)
    file = folder / "captions.json"
    file.write_text(file.read_text().replace('["clip a.mp4", "a second one"]', captions))
    _, problems = check(data_of(dataset), pool, tmp_path / "kept.json")
    assert [each.kind for each in problems] == ([problem] if problem else []) + ["refused"]
    assert "caption" in problems[-1].reason


def test_a_split_that_cannot_be_listed_does_not_hide_the_other(folder, pool, tmp_path):
    rows = [row for row in list_rows() if row[2] == "train"]
    data = data_of(write_list(folder, rows))
    (folder / "b.mp4").unlink()
    _, problems = check(data, pool, tmp_path / "kept.json")
    assert [each.kind for each in problems] == ["missing", "refused"]
    assert "no clip is for test" in problems[1].reason


def test_a_set_of_which_nothing_can_be_listed_is_a_mistake(folder):
    with pytest.raises(InputError, match=r"none\.csv"):
        list_clips(data_of({"kind": "list", "annotations": str(folder / "none.csv")}).dataset)


def frame_folders(folder, **fields):
    for number, name in enumerate(("one", "two", "three")):
        (folder / name).mkdir()
        for frame in range(FRAMES):
            Image.new("RGB", (48, 32), (90 * number, 10 * frame, 0)).save(folder / name / f"{frame + 1:05d}.jpg")
    (folder / "names.csv").write_text("waving\nwalking\n")
    (folder / "train.csv").write_text("one;waving\ntwo;walking\n")
    (folder / "test.csv").write_text("three;waving\n")
    lists = {"train_list": "train.csv", "test_list": "test.csv", "class_names": "names.csv"}
    return data_of({"kind": "something-something-v1", "annotations": str(folder), **lists, **fields})


@pytest.mark.parametrize(
    ("spoil", "kinds"),
    [
        (lambda folder: None, []),
        (lambda folder: shutil.rmtree(folder / "two"), ["missing", "refused"]),
        (lambda folder: (folder / "two" / "00003.jpg").unlink(), ["broken"]),
        (lambda folder: [(folder / "two" / f"{n:05d}.jpg").unlink() for n in range(4, 9)], ["too_short"]),
        (lambda folder: [shutil.copy(each, folder / "three") for each in (folder / "one").iterdir()], ["duplicated"]),
    ],
    ids=["nothing", "gone", "a gap", "short", "twice"],
)
def test_folders_of_frames(tmp_path, pool, spoil, kinds):
    place = tmp_path / "frames"
    place.mkdir()
    data = frame_folders(place)
    spoil(place)
    _, problems = check(data, pool, tmp_path / "kept.json")
    assert [each.kind for each in problems] == kinds


def test_counts_and_spreads(folder, pool, tmp_path):
    data = data_of(write_list(folder, list_rows()))
    write_clip(folder / "c.mp4", 99, frames=3)
    checked, _ = check(data, pool, tmp_path / "kept.json")
    report = make_report("small", "list", checked, frames=data.frames)
    assert report.splits["train"].records == report.splits["train"].files == 4
    assert report.splits["test"].bytes == sum((folder / name).stat().st_size for name in ("e.mp4", "f.mp4"))
    assert report.classes == {"walking": {"train": 2, "test": 1}, "waving": {"train": 2, "test": 1}}
    assert report.sizes == {"48 x 32": {"train": 4, "test": 2}}
    frames = report.histograms["frames"]
    assert (frames.least, frames.median, frames.most) == (3, FRAMES, FRAMES)
    assert (sum(frames.counts["train"]), sum(frames.counts["test"])) == (4, 2)
    assert frames.counts["train"][0] == 1
    assert "captions" not in report.histograms
    assert report.notes == []


def test_captions_are_counted(folder, pool, tmp_path):
    checked, _ = check(data_of(write_captions(folder)), pool, tmp_path / "kept.json")
    report = make_report("small", "captions", checked, frames=4)
    assert report.classes == {}
    assert report.histograms["captions"].counts == {"train": (4,), "test": (2,)}


def test_the_sample_is_as_large_as_asked_and_said(folder, pool, tmp_path):
    data = data_of(write_list(folder, list_rows()))
    checked, _ = check(data, pool, tmp_path / "kept.json", sample=2)
    again, _ = check(data, pool, tmp_path / "other.json", sample=2)
    assert [clip.path for clip in checked.sample] == [clip.path for clip in again.sample]
    assert len(checked.facts) == 2
    notes = make_report("small", "list", checked, frames=4).notes
    assert notes == ["2 of 6 clips were decoded; --all decodes all"]

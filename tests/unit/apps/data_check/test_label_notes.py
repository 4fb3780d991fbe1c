"""Slips that `data check` names: each list with one slip has one note, and the list without it has none."""

import pytest

from checked_sets import FRAMES, check, data_of, write_clip
from side4video.apps.data_check.report import make_report

HEADER = "path,label,split,start,end"


def notes(folder, pool, tmp_path, rows):
    (folder / "list.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    dataset = {"kind": "list", "annotations": str(folder / "list.csv")}
    checked, _ = check(data_of(dataset), pool, tmp_path / "saved.json")
    return make_report("x", "list", checked, frames=FRAMES).notes


def rows(*labels, ends=("",) * 6):
    """One line for each of the six clips of the folder."""
    names = ("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4")
    splits = ("train",) * 4 + ("test",) * 2
    given = [labels[number % len(labels)] for number in range(6)]
    return [",".join(row) for row in zip(names, given, splits, ("",) * 6, ends, strict=True)]


SLIPS = {
    "case": (rows("open", "OPEN", "open"), "classes that may be one: 'OPEN' and 'open'"),
    "a no-break space": (rows("open\u00a0door", "open door"), r"'open\xa0door'"),
    "a space and an underscore": (rows("open_door", "open door"), "'open door' and 'open_door'"),
    "whole numbers with and without a point": (rows("1", "1.0", "2"), "'1' and '1.0'"),
    "an accent in two forms": (rows("caf\u00e9", "cafe\u0301"), "classes that may be one"),
    "a value that is missing": (rows("open", "close", "nan"), "the class 'nan' looks like a value that is missing"),
    "a value that pandas left out": (rows("open", "close", "<NA>"), "the class '<NA>' looks like"),
    "two labels for a clip": (
        [*rows("open", "close"), "a.mp4,close,train,,"],
        "1 clip is listed under several classes",
    ),
    "two labels in another spelling": ([*rows("open", "close"), "./a.mp4,close,train,,"], "1 clip is listed under"),
    "a clip twice": ([*rows("open", "close"), "a.mp4,open,train,,"], "1 clip is listed more than once in train"),
    "a clip twice in another spelling": (
        [*rows("open", "close"), "x/../e.mp4,open,test,,"],
        "1 clip is listed more than once in test",
    ),
    "clips twice": (
        [*rows("open", "close"), "./a.mp4,open,train,,", "b.mp4,close,train,,"],
        "2 clips are listed more than once in train",
    ),
    "a name among numbers": (rows("0", "1", "unknown"), "most classes are numbers, and 'unknown' is not"),
    "frames for seconds": (rows("open", "close", ends=("8",) * 6), "6 of 6 spans end long after"),
    "milliseconds": (rows("open", "close", ends=("600",) * 6), "6 of 6 spans end long after their video"),
    "milliseconds once": (rows("open", "close", ends=("", "800", "", "", "", "")), "1 of 1 spans end long after"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named(folder, pool, tmp_path, slip):
    lines, said = SLIPS[slip]
    found = notes(folder, pool, tmp_path, lines)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "lines",
    [
        rows("open", "close"),
        rows("0", "1"),
        rows("open door", "opening a door", "doors"),
        rows("open", "close", ends=("0.5",) * 6),
        rows("C++", "C"),
        rows("1", "two", "three"),
        ["a.mp4,open,train,0,0.5", "a.mp4,open,train,0.5,1", *rows("open", "close")[1:]],
        rows("open", "close", ends=("2",) * 6),
    ],
)
def test_other_lists_have_no_note(folder, pool, tmp_path, lines):
    assert list(notes(folder, pool, tmp_path, lines)) == []


def test_a_short_span_late_in_a_long_video_is_none(folder, pool, tmp_path):
    write_clip(folder / "a.mp4", seed=9, frames=200)
    spans = ["a.mp4,open,train,20,20.25", "a.mp4,open,train,24,24.5"]
    assert list(notes(folder, pool, tmp_path, [*spans, *rows("open", "close")[1:]])) == []

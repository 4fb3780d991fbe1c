"""Lists of clips in JSON Lines: the same clips as from a table, and mistakes named by file and line."""

import json

import pytest

from side4video.core.errors import InputError
from side4video.data.datasets import ListSpec

ENTRIES = [
    {"path": "a b.mp4", "label": "wave", "start": 0.5, "end": 2, "split": "train", "source": "s1", "reversed": True},
    {"split": "train", "path": "b.mp4", "label": "clap", "start": None, "notes": ["anything", {"is": "ignored"}]},
    {"path": "c.mp4", "label": "wave", "split": "test", "reversed": False},
]
TABLE = """path,label,start,end,split,source,reversed
a b.mp4,wave,0.5,2,train,s1,yes
b.mp4,clap,,,train,,
c.mp4,wave,,,test,,no
"""
COLUMNS = {"group": "source"}


def listed(folder, entries, name="list.jsonl", **fields):
    text = entries if isinstance(entries, str | bytes) else "\n".join(map(json.dumps, entries))
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return ListSpec(annotations=str(folder / name), **fields)


def test_the_clips_are_those_of_the_same_table(tmp_path):
    spec, table = listed(tmp_path, ENTRIES, columns=COLUMNS), listed(tmp_path, TABLE, "list.csv", columns=COLUMNS)
    assert spec.classes() == table.classes() == ("clap", "wave")
    for split in ("train", "test"):
        ours, theirs = (
            [(clip.path, clip.label, clip.start_seconds, clip.end_seconds, clip.reversed, clip.group) for clip in clips]
            for clips in (spec.clips(split), table.clips(split))
        )
        assert ours == theirs
    assert spec.clips("test")[0].origin == f"{tmp_path}/list.jsonl:3"
    assert spec.fingerprint() == table.fingerprint()
    spec.check()


def test_whole_number_labels_and_a_list_for_test(tmp_path):
    listed(tmp_path, [{"path": "t.mp4", "label": 2}], "test.jsonl")
    spec = listed(
        tmp_path,
        [{"path": "a.mp4", "label": 0}, {"path": "b.mp4", "label": "1"}],
        split_by={"kind": "file", "test_annotations": f"{tmp_path}/test.jsonl"},
    )
    assert spec.classes() == ("0", "1", "2")
    assert [clip.label for clip in [*spec.clips("train"), *spec.clips("test")]] == [0, 1, 2]


def test_groups_are_held_out(tmp_path):
    entries = [{"path": f"{n}.mp4", "label": "a", "source": f"s{n // 4}"} for n in range(40)]
    spec = listed(tmp_path, entries, columns=COLUMNS, split_by={"kind": "group"})
    train, test = ({clip.group for clip in spec.clips(split)} for split in ("train", "test"))
    assert test and not train & test and len(train | test) == 10  # noqa: PT018


WRONG = {
    "empty": ("\n", r"list\.jsonl: the list is empty"),
    "not JSON": ('{"path": "a.mp4"\n', r"jsonl:1: not JSON"),
    "a list": ("[]\n", r"jsonl:1: found \[\].*an object"),
    "no label": ([*ENTRIES, {"path": "d.mp4", "split": "test"}], r"jsonl:4: no column 'label'"),
    "misspelt": ([{"path": "a.mp4", "lable": "x"}], r"jsonl:1: .*did you mean 'lable'"),
    "misspelt option": ([{"path": "a.mp4", "label": "x", "revesed": 1}], r"jsonl:1: unknown column .*'reversed'"),
    "null label": ([{**ENTRIES[0], "label": None}], r"jsonl:1: no column 'label'"),
    "empty path": ([{**ENTRIES[0], "path": " "}], r"jsonl:1: the path is empty"),
    "label is a list": ([{**ENTRIES[0], "label": ["a"]}], r"jsonl:1: label is \['a'\].*text or a number"),
    "start is text": ([{**ENTRIES[0], "start": "1:30"}], r"jsonl:1: start is '1:30'"),
    "start after end": ([{**ENTRIES[0], "start": 3}], r"jsonl:1: start 3 is not before end 2"),
    "no split": ([{**ENTRIES[0], "split": None}], r"jsonl:1: the list has no column 'split'"),
    "leaves the root": ([{**ENTRIES[0], "path": "../a.mp4"}], r"jsonl:1: .*leaves the root"),
    "field twice": ('{"path": "a", "path": "b", "label": "x"}', r"jsonl:1: .*'path' appears twice"),
    "not UTF-8": (b'{"path": "\xff"}', r"jsonl:1: not UTF-8"),
    "renamed column nowhere": (ENTRIES[1:], r"list\.jsonl: no object has the field 'source'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_named_by_file_and_line(tmp_path, case):
    entries, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        listed(
            tmp_path, entries, columns=COLUMNS if isinstance(entries, list) and case.startswith("renamed") else {}
        ).check()
    assert "\n" not in str(caught.value)

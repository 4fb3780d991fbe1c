"""Lists with several labels a clip, and with a label of each head."""

import json

import pytest
from pydantic import ValidationError

from side4video.core.errors import InputError
from side4video.data.datasets import ListSpec
from side4video.data.selection import SelectedClips

HEAD = "path,tags,split\n"
LABELS = {"columns": {"labels": "tags"}}
HEADS = {"label_columns": {"verb": "verb_class", "noun": "noun_class"}}


def listed(folder, text, name="list.csv", **fields):
    (folder / name).write_text(text, encoding="utf-8")
    return ListSpec(annotations=str(folder / name), **fields)


def test_several_labels_in_a_cell(tmp_path):
    spec = listed(tmp_path, HEAD + 'a.mp4,wave; clap ,train\nb.mp4,,train\nc.mp4,"[""x;y""]",test\n', **LABELS)
    assert spec.classes() == ("clap", "wave", "x;y")
    assert [(clip.label, clip.labels) for clip in spec.clips("train")] == [(None, (0, 1)), (None, ())]
    assert spec.clips("test")[0].labels == (2,)
    assert spec.heads() == {}


def test_a_list_in_json_lines(tmp_path):
    rows = [
        {"path": "a.mp4", "tags": ["wave", "a;b"], "split": "train"},
        {"path": "b.mp4", "tags": [], "split": "train"},
        {"path": "c.mp4", "tags": "clap;wave", "split": "test"},
    ]
    spec = listed(tmp_path, "\n".join(map(json.dumps, rows)), "list.jsonl", **LABELS)
    assert spec.classes() == ("a;b", "clap", "wave")
    assert [clip.labels for clip in (*spec.clips("train"), *spec.clips("test"))] == [(0, 2), (), (1, 2)]


def test_three_kinds_of_columns_at_once(tmp_path):
    text = "path,label,tags,verb_class,noun_class,split\na.mp4,wave,clap,take,cup,train\nb.mp4,clap,,put,cup,test\n"
    spec = listed(tmp_path, text, **LABELS, **HEADS)
    (train,), (test,) = spec.clips("train"), spec.clips("test")
    assert spec.classes() == ("clap", "wave")
    assert spec.heads() == {"noun": ("cup",), "verb": ("put", "take")}
    assert (train.label, train.labels, train.head_labels) == (1, (0,), (0, 1))
    assert (test.label, test.labels, test.head_labels) == (0, (), (0, 0))


def test_heads_alone_and_their_classes_given(tmp_path):
    (tmp_path / "verbs.csv").write_text("id,name\n0,take\n1,put\n2,wash\n")
    names = {"head_class_names": {"verb": {"kind": "file", "path": f"{tmp_path}/verbs.csv"}}}
    text = "path,verb_class,noun_class,split\na.mp4,1,cup,train\nb.mp4,wash,plate,test\n"
    spec = listed(tmp_path, text, **HEADS, **names)
    assert spec.classes() == ()
    assert spec.heads() == {"noun": ("cup", "plate"), "verb": ("take", "put", "wash")}
    assert [spec.clips(split)[0].head_labels for split in ("train", "test")] == [(0, 1), (1, 2)]
    assert spec.paths()["head_class_names.verb.path"] == f"{tmp_path}/verbs.csv"
    spelled = spec.respelled(spec.model_dump(mode="json"), str.upper)
    assert spelled["head_class_names"]["verb"]["path"] == f"{tmp_path}/verbs.csv".upper()


@pytest.mark.parametrize(
    ("text", "fields", "found"),
    [
        ("path,label,tags,split\na.mp4,wave,clap,train\nb.mp4,,clap,test\n", LABELS, "list.csv:3: the label is empty"),
        ("path,verb_class,noun_class,split\na.mp4,,cup,train\n", HEADS, "list.csv:2: the label of verb is empty"),
        (HEAD + "a.mp4,wave;;clap,train\n", LABELS, "list.csv:2: labels are 'wave;;clap', and one of them is empty"),
        (HEAD + 'a.mp4,"[""wave""",train\n', LABELS, "list.csv:2: labels are '[\"wave\"', which is not JSON"),
        (
            HEAD + "a.mp4,wave; clap ;wave,train\n",
            LABELS,
            "list.csv:2: labels are 'wave; clap ;wave', and 'wave' is named",
        ),
        (HEAD + 'a.mp4,"[""x"",""x""]",train\n', LABELS, "and 'x' is named twice · allowed: each class once"),
        (
            HEAD + "a.mp4,wave,train\nb.mp4,clap,train\na.mp4,clap,test\n",
            LABELS,
            "list.csv:4: the video is in LIST:2 too, with other labels",
        ),
        (HEAD + "a.mp4,,train\nb.mp4,,test\n", LABELS, "list.csv: no clip has a class"),
        ("path,label,split\na.mp4,wave,train\n", LABELS, "list.csv:1: no column 'tags'"),
    ],
)
def test_mistakes_name_the_line(tmp_path, text, fields, found):
    spec = listed(tmp_path, text, **fields)
    with pytest.raises(InputError) as caught:
        spec.clips("train")
    assert found.replace("LIST", spec.annotations) in str(caught.value)
    assert "· fix: " in str(caught.value) or "· allowed: " in str(caught.value)


def test_spans_of_a_video_have_labels_of_their_own(tmp_path):
    """The twin of a video in two lines: two spans, and the same labels again."""
    text = "path,tags,start,end,split\na.mp4,wave,0,1,train\na.mp4,clap,1,2,train\na.mp4,clap,1,2,test\n"
    assert [clip.labels for clip in listed(tmp_path, text, **LABELS).clips("train")] == [(1,), (0,)]


def test_a_label_that_some_lines_of_json_lack(tmp_path):
    rows = [{"path": "a.mp4", "tags": [], "label": "wave", "split": "train"}, {"path": "b.mp4", "tags": []}]
    with pytest.raises(InputError, match=r"list\.jsonl:2: the label is empty"):
        listed(tmp_path, "\n".join(map(json.dumps, rows)), "list.jsonl", **LABELS).clips("train")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"label_columns": {"verb": "label"}}, "'label' is given two meanings"),
        ({"columns": {"labels": "tags"}, "label_columns": {"verb": "tags"}}, "'tags' is given two meanings"),
        ({"label_columns": {"Verb-1": "verb"}}, "pattern"),
        ({"label_columns": {"action": "verb"}}, "a head action, and metrics of all heads together are called so"),
        ({"head_class_names": {"verb": {"kind": "from-labels"}}}, "label_columns has not"),
        ({"columns": {"labels": "tags"}, "task_labels": {"kind": "direction"}}, "one label"),
    ],
)
def test_documents_that_contradict_themselves(tmp_path, fields, found):
    with pytest.raises(ValidationError, match=found):
        ListSpec(annotations=str(tmp_path / "list.csv"), **fields)


def test_the_fingerprint_counts_labels_and_is_the_old_one_without_them(tmp_path):
    plain = "path,label,split\na.mp4,wave,train\nb.mp4,clap,test\n"
    # Written down before there were several labels.
    old = "44795e49f4f9a92eb4a019fcd6b4943a03395c8f02004b31caca1202c4bdb1f7"
    assert listed(tmp_path, plain).fingerprint() == old
    both = listed(tmp_path, "path,label,tags,split\na.mp4,wave,clap,train\nb.mp4,clap,,test\n", **LABELS)
    other = listed(tmp_path, "path,label,tags,split\na.mp4,wave,clap,train\nb.mp4,clap,wave,test\n", "o.csv", **LABELS)
    heads = "path,label,verb_class,noun_class,split\na.mp4,wave,take,cup,train\nb.mp4,clap,put,cup,test\n"
    more = listed(tmp_path, heads, "h.csv", **HEADS)
    renamed = listed(tmp_path, heads.replace("cup", "mug"), "r.csv", **HEADS)
    assert len({old, *(each.fingerprint() for each in (both, other, more, renamed))}) == 5


def test_flips_know_the_heads(tmp_path):
    text = "path,tags,verb_class,noun_class,split\n" + "a.mp4,turn left,turn left,cup,train\n"
    text += "b.mp4,turn right;up,turn right,cup,test\n"
    spec = listed(tmp_path, text, **LABELS, **HEADS)
    assert spec.flipped_classes() == {0: 1, 1: 0, 2: 2}
    assert spec.flipped_heads() == ({0: 0}, {0: 1, 1: 0})
    one_sided = listed(tmp_path, text.replace("turn right,", "up,"), "o.csv", **LABELS, **HEADS)
    assert one_sided.flipped_heads() is None
    pairs = {"mirror": {"kind": "pairs", "pairs": [["turn left", "up"]]}}
    paired = listed(tmp_path, text.replace("turn right,", "up,"), "p.csv", **LABELS, **HEADS, **pairs)
    assert paired.flipped_heads() == ({0: 0}, {0: 1, 1: 0})


def test_chosen_classes_keep_the_other_labels(tmp_path):
    text = "path,label,tags,split\n" + "".join(
        f"{name}.mp4,{label},{tags},train\n"
        for name, label, tags in (("a", "x", "x;y"), ("b", "y", "y"), ("c", "z", ""))
    )
    spec = listed(tmp_path, text + "d.mp4,x,x;z,test\n", **LABELS)
    chosen = SelectedClips(spec, "novel", None, 0)
    assert chosen.classes() == ("z",)
    assert [(clip.label, clip.labels) for clip in chosen.clips("train")] == [(0, ())]

"""Data sets that a model cannot be evaluated on, because their clips lack what its task compares with."""

import pytest

from side4video.core.errors import InputError
from side4video.spec.check_labels import check_evaluated_labels
from tiny import tiny

HEADER = "path,label,tags,verb_class,split"
ROWS = ("a.mp4,x,x;y,take,train", "b.mp4,y,,put,test", "c.mp4,x,x,take,test")
COLUMNS = {
    "several": {"columns": {"labels": "tags"}},
    "heads": {"label_columns": {"verb": "verb_class"}},
    "one": {},
}


def listed(folder, columns, rows=ROWS):
    path = folder / "list.csv"
    header = HEADER if columns == "one" else HEADER.replace("label", "other")
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return {"kind": "list", "annotations": str(path), **COLUMNS[columns]}


def captions(folder):
    path = folder / "captions.csv"
    path.write_text("path,caption,split\na.mp4,it falls,train\nb.mp4,it rises,test\n", encoding="utf-8")
    return {"kind": "captions", "annotations": str(path)}


def spec(task, dataset, **data):
    return tiny(task={"kind": task}, data={"dataset": dataset, **data})


@pytest.mark.parametrize("columns", ["several", "heads"])
def test_recognition_needs_one_label_a_clip(tmp_path, columns):
    with pytest.raises(InputError) as caught:
        check_evaluated_labels(spec("recognition", listed(tmp_path, columns)), "test")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/list.csv:3: its clips have no one label, and the task of the model is")
    assert "\n" not in message
    assert "· fix: evaluate on another data set" in message


def test_recognition_on_captions_alone(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="its clips have no one label"):
        check_evaluated_labels(spec("recognition", captions(tmp_path)), "test")


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        ("multi-label", "one", "its clips do not say all their classes, and the task of the model is multi-label"),
        ("multi-head", "one", "its clips do not say a class of each head, and the task of the model is multi-head"),
        ("multi-head", "several", "its clips do not say a class of each head"),
    ],
)
def test_other_tasks_need_their_labels(tmp_path, task, columns, message):
    with pytest.raises(InputError) as caught:
        check_evaluated_labels(spec(task, listed(tmp_path, columns)), "test")
    assert message in str(caught.value)
    with pytest.raises(InputError):
        check_evaluated_labels(spec(task, {"kind": "motion", "train_clips": 20, "test_clips": 20}), "test")


def test_labels_that_all_are_empty_give_no_metric(tmp_path):
    dataset = listed(tmp_path, "several", (ROWS[0], ROWS[1]))
    with pytest.raises(InputError, match="no test clip has a label"):
        check_evaluated_labels(spec("multi-label", dataset), "test")
    check_evaluated_labels(spec("multi-label", dataset), "train")


@pytest.mark.parametrize(
    ("task", "columns"), [("recognition", "one"), ("multi-label", "several"), ("multi-head", "heads")]
)
def test_what_fits_passes(tmp_path, task, columns):
    """The twin: the same lists, where they fit."""
    check_evaluated_labels(spec(task, listed(tmp_path, columns)), "test")


def test_one_class_is_no_choice(tmp_path):
    alone = listed(tmp_path, "one", ("a.mp4,x,,take,train", "b.mp4,x,,put,test"))
    with pytest.raises(InputError, match="1 class, of which every model names the right one · allowed: at least 2"):
        check_evaluated_labels(spec("recognition", alone), "test")
    three = {"motions": ["left", "up", "appear"], "train_clips": 30, "test_clips": 30}
    check_evaluated_labels(spec("recognition", three), "test")


def test_half_of_three_classes_is_no_choice(tmp_path):
    rows = ("a.mp4,x,,t,train", "b.mp4,x,,t,test", "c.mp4,y,,t,train", "d.mp4,z,,t,train", "e.mp4,z,,t,test")
    dataset = listed(tmp_path, "one", rows)
    with pytest.raises(InputError, match="1 class, of which"):
        check_evaluated_labels(spec("recognition", dataset, classes="novel"), "test")
    check_evaluated_labels(spec("recognition", dataset, classes="base"), "test")

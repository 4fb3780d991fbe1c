"""Mistakes with labels, lists and data of other experiments: one line with what is allowed and what to do."""

import json

import pytest
import yaml

from label_sets import make_labelled_list
from side4video.core.errors import InputError
from side4video.data.datasets.diving48 import Diving48Spec
from side4video.data.datasets.hmdb51 import Hmdb51Spec
from side4video.data.datasets.kinetics import KineticsSpec
from side4video.data.selection import SelectedClips
from side4video.spec.check_labels import check_labels
from side4video.spec.other_data import take_data
from tiny import DOCUMENT, tiny


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return make_labelled_list(tmp_path_factory.mktemp("messages") / "clips")


def parts_of(act):
    """Where, what, allowed and fix of the error, none of them empty."""
    with pytest.raises(InputError) as found:
        act()
    error = found.value
    assert error.allowed, error
    assert error.fix, error
    assert "\n" not in str(error)
    return error


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hmdb.yaml").write_text(yaml.safe_dump(DOCUMENT))
    assert "did you mean hmdb.yaml?" in parts_of(lambda: take_data(DOCUMENT, "hmbd.yaml")).fix
    assert "presets" in parts_of(lambda: take_data(DOCUMENT, "nothing.like")).fix


def test_data_of_a_sweep_are_those_of_its_base(tmp_path):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"name": "s", "base": "quickstart", "grid": {}}))
    error = parts_of(lambda: take_data(DOCUMENT, str(tmp_path / "sweep.yaml")))
    assert "it is a sweep" in error.found
    assert "`base`" in error.fix
    assert "side4video sweep" not in error.fix


@pytest.mark.parametrize(("column", "fix"), [("tgas", "did you mean 'tags'?"), ("zzz", "name it in the header")])
def test_a_list_without_the_column(listed, column, fix):
    columns = {"columns": {"labels": column}}
    error = parts_of(lambda: tiny(data={"dataset": {**listed, **columns}}).data.listed.clips("train"))
    assert error.found.startswith(f"no column {column!r} among path, label, ")
    assert column in error.allowed
    assert fix in error.fix


@pytest.mark.parametrize(
    ("cell", "found"), [("rise;;up", "one of them is empty"), ('["a"', "not JSON"), ('["a", ""]', "is empty")]
)
def test_labels_that_are_no_list(tmp_path, cell, found):
    quoted = cell.replace('"', '""')
    (tmp_path / "a.csv").write_text(f'path,tags,split\na.mp4,"{quoted}",train\nb.mp4,rise,test\n')
    dataset = {"kind": "list", "annotations": str(tmp_path / "a.csv"), "columns": {"labels": "tags"}}
    error = parts_of(lambda: tiny(data={"dataset": dataset}).data.listed.clips("train"))
    assert error.where.endswith("a.csv:2")
    assert found in error.found


@pytest.mark.parametrize("more", [{}, {"shots": 1}, {"classes": "base"}])
def test_recognition_on_clips_without_the_one_label(tmp_path, more):
    (tmp_path / "a.csv").write_text("path,tags,split\na.mp4,rise;up,train\nb.mp4,rise,test\n")
    dataset = {"kind": "list", "annotations": str(tmp_path / "a.csv"), "columns": {"labels": "tags"}}
    spec = tiny(data={"dataset": dataset, **more})
    assert "its clips have no one label" in parts_of(lambda: check_labels(spec)).found


def test_shots_of_a_data_set_without_classes():
    class Captioned:
        kind = "captioned"

        def classes(self):
            return ()

        def clips(self, split):
            from side4video.data.clip import Clip

            return [Clip(f"{split}.mp4", label=None, captions=("a dog",))]

    error = parts_of(lambda: SelectedClips(Captioned(), "all", 2, 0).clips("train"))
    assert (error.where, error.fix) == ("data.shots", "remove data.shots")
    assert error.found == "given, and the data set captioned has no classes"


def test_a_wrong_number_of_a_fold(tmp_path):
    (tmp_path / "wave_test_split1.txt").write_text("a.avi 1\nb.avi 3\n")
    error = parts_of(lambda: Hmdb51Spec(annotations=str(tmp_path)).clips("train"))
    assert error.where.endswith("wave_test_split1.txt:2")
    assert "'b.avi 3'" in error.found


def test_a_dive_of_no_class(tmp_path):
    (tmp_path / "Diving48_vocab.json").write_text(json.dumps([["Back", "15som"], ["Back", "25som"]]))
    (tmp_path / "Diving48_V2_train.json").write_text(json.dumps([{"vid_name": "a", "label": 48}]))
    error = parts_of(lambda: Diving48Spec(annotations=str(tmp_path)).clips("train"))
    assert (error.found, error.allowed) == ("label 48 is out of range", "0 to 1")


def test_a_chosen_class_that_is_none(tmp_path):
    for name in ("train.csv", "val.csv"):
        lines = "label,youtube_id,time_start,time_end\nc001,a,0,10\nc002,b,0,10\n"
        (tmp_path / name).write_text(lines)
    (tmp_path / "chosen.txt").write_text("c001\nzebra\n")
    spec = KineticsSpec(annotations=str(tmp_path), only_classes=str(tmp_path / "chosen.txt"))
    assert parts_of(spec.classes).where.endswith("chosen.txt:2")


def test_plans_count_the_chosen_classes(tmp_path):
    (tmp_path / "chosen.txt").write_text("".join(f"c{number:03}\n" for number in range(160)))
    fields = {"annotations": str(tmp_path / "gone"), "class_count": 600}
    assert KineticsSpec(**fields).usual_classes() == 600
    assert KineticsSpec(**fields, only_classes=str(tmp_path / "chosen.txt")).usual_classes() == 160
    assert KineticsSpec(**fields, only_classes=str(tmp_path / "gone.txt")).usual_classes() == 600

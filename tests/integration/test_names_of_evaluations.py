"""Where an evaluation on other data is stored, what it replaces, and what of the data section stays the model's."""

import json

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.tracking.stores import store_at
from tiny import merged, tiny

CLIP = {"text": {"kind": "transformer", "width": 16, "layers": 2, "head_width": 8}, "output_dim": 24}
CLASSIFIER = {"kind": "text", "prompt": "it moves {}", "projection": "tower"}
DATA = {"dataset": {"motions": ["left", "up"], "train_clips": 24, "test_clips": 16}, "classes": "base"}


def spec(**changes):
    document = {"backbone": CLIP, "task": {"kind": "recognition", "classifier": CLASSIFIER}, "data": DATA}
    return tiny(name="own-half", **merged(document, changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return launch({"base": spec(optimization={"length": {"epochs": 1}})}, progress=SILENT)["base"]


@pytest.fixture
def other(tmp_path):
    """A file with other clips of all four classes, and other frames."""
    file = tmp_path / "other.yaml"
    data = {"dataset": {"motions": ["left", "up"], "train_clips": 24, "test_clips": 20}, "frames": 2}
    document = spec(data=data).resolved() | {"name": "motion-base"}
    document["data"]["classes"] = "all"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(file)


def called(*arguments):
    done = CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def printed(*arguments):
    return " ".join(called(*arguments).stdout.split())


def evaluated(*arguments):
    return json.loads(called(*arguments, "--json").stdout)


def refused(*arguments):
    with pytest.raises(InputError) as caught:
        printed(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_usual_name_says_what_is_unusual(run, other):
    assert evaluated(run.run_id, "--on", other)["recorded_as"] == "motion-base"
    novel = ["--on", other, "--set", "data.classes=novel"]
    assert evaluated(run.run_id, *novel)["recorded_as"] == "motion-base-novel"
    assert evaluated(run.run_id, *novel, "--trained-share", "0.5")["recorded_as"] == "motion-base-novel-share-0.5"


def test_the_other_half_of_other_data_is_not_novel(run, other):
    evaluated(run.run_id, "--on", other, "--set", "data.classes=novel")
    stored = store_at("").get(run.run_id).metrics
    assert "on/motion-base-novel/top1" in stored
    assert "on/motion-base-novel/harmonic_mean" not in stored  # twin of the data set's own other half
    evaluated(run.run_id, "--set", "data.classes=novel")
    assert "on/novel/harmonic_mean" in store_at("").get(run.run_id).metrics
    evaluated(run.run_id, "--set", "data.classes=novel", "--trained-share", "0.5", "--as", "half")
    assert "on/half/harmonic_mean" not in store_at("").get(run.run_id).metrics


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--as", "base"], "--as: base, which tables take for the base classes"),
        (["--as", "novel"], "--as: novel, which tables take for the novel classes"),
        (["--as", "novel/1"], "--as: novel/1, which tables take"),
        (["--on", "OTHER", "--set", "data.classes=novel", "--as", "novel"], "--as: novel, which tables take"),
        (["--set", "data.classes=base", "--as", "base"], "--as: base, which tables take"),
        (["--set", "data.classes=novel", "--trained-share", "0.5", "--as", "novel"], "with the trained weights"),
    ],
)
def test_names_that_tables_take_for_halves(run, other, arguments, found):
    message = refused(run.run_id, *[other if each == "OTHER" else each for each in arguments])
    assert found in message
    assert "fix: choose another name: --as NAME" in message
    assert evaluated(run.run_id, "--set", "data.classes=novel", "--as", "novel/1")["recorded_as"] == "novel/1"


def test_what_another_evaluation_of_the_name_was_of(run, other):
    again = [run.run_id, "--on", other, "--as", "mine"]
    assert "Replaced" not in printed(*again)
    assert "Replaced" not in printed(*again)  # twin: the same again
    views = printed(*again, "--set", "data.views.clips=2")
    assert f"Replaced on/mine of own-half ({run.run_id[:8]}), which was with views 1, with another data.views." in views
    found = evaluated(run.run_id, "--as", "mine")
    assert f"Replaced on/mine of own-half ({run.run_id[:8]}), which was of other data (" in found["replaced"]


@pytest.mark.parametrize(
    ("field", "value", "own"), [("frames", "8", "4"), ("size", "48", "32"), ("neighbours", "2", "0")]
)
def test_frames_stay_those_of_the_model(run, other, field, value, own):
    message = refused(run.run_id, "--on", other, "--set", f"data.{field}={value}")
    found = f"--set data.{field}: {value}, and on other data it stays that of the model"
    assert message == f"{found} · allowed: {own} · fix: leave it out"
    printed(run.run_id, "--on", other, "--set", f"data.{field}={own}")


def test_mixed_weights_are_named_and_where_they_are_stored(run, other):
    text = printed(run.run_id, "--trained-share", "0")
    assert "Weights: 0 of the trained ones, 1 of those before training." in text
    assert "Not stored in the run. Store it with --as NAME." in text
    text = printed(run.run_id, "--on", other, "--trained-share", "0")
    assert "Stored in the run as on/motion-base-share-0/..." in text
    assert "Not stored" not in text
    assert "Not stored" not in printed(run.run_id)  # nobody expects its own data to be stored again


def test_options_of_one_value_are_given_once(run, other):
    assert refused(run.run_id, "--as", "x", "--as", "y").startswith("--as: given 2 times: x, y · allowed: once")
    assert refused(run.run_id, "--on", other, "--on", "quickstart").startswith("--on: given 2 times:")


def test_other_data_without_the_labels(run, tmp_path):
    clips = tmp_path / "list.csv"
    clips.write_text("path,tags,split\na.mp4,x,train\nb.mp4,x;y,test\n", encoding="utf-8")
    document = tiny(
        name="tags",
        task={"kind": "multi-label"},
        data={"dataset": {"kind": "list", "annotations": str(clips), "columns": {"labels": "tags"}}},
    ).resolved()
    file = tmp_path / "tags.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    message = refused(run.run_id, "--on", str(file))
    assert message.startswith(f"{clips}:3: its clips have no one label, and the task of the model is recognition")
    assert not [key for key in store_at("").get(run.run_id).metrics if key.startswith("on/tags")]


def test_weights_that_do_not_fit_name_the_field_that_was_changed(run):
    message = refused(run.run_id, "--set", "method.dim=128")
    assert message == (
        f"--set method.dim: 128, and own-half ({run.run_id[:8]}) has 64: its weights do not fit · allowed: 64 · "
        "fix: leave it out"
    )
    refused(run.run_id, "--set", "method.dim=128", "--set", "data.views.clips=2", "--trained-share", "0.5")
    printed(run.run_id, "--set", "method.dim=64")

"""A run is evaluated on classes and data that it was not trained on: new texts, stored metrics, mixed weights."""

import json

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.engine.process_group import ProcessGroup
from side4video.inference.trained_model import load
from side4video.run import build_student, evaluate_students
from side4video.run_start import WeightChanges, load_start, load_trained
from side4video.runs.launch import launch
from side4video.runs.stored_run import fetch_weights, find_finished
from side4video.tracking.stores import store_at
from tiny import merged, tiny

CLIP = {"text": {"kind": "transformer", "width": 16, "layers": 2, "head_width": 8}, "output_dim": 24}
CLASSIFIER = {"kind": "text", "prompt": "it moves {}", "projection": "tower"}
DATA = {"dataset": {"motions": ["left", "up"], "train_clips": 24, "test_clips": 16}, "classes": "base"}


def spec(**changes):
    document = {"backbone": CLIP, "task": {"kind": "recognition", "classifier": CLASSIFIER}, "data": DATA}
    return tiny(name="base", **merged(document, changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    experiment = spec(optimization={"learning_rate": 1e-2, "length": {"epochs": 2}})
    return launch({"base": experiment}, progress=SILENT)["base"]


def evaluated(*arguments):
    done = CliRunner().invoke(cli, ["evaluate", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def weights_of(run, folder):
    store = store_at("")
    return fetch_weights(store, find_finished(store, run.run_id, folder), folder, "chosen")


def test_the_novel_classes_get_their_own_texts(run, tmp_path):
    found = evaluated(run.run_id, "--set", "data.classes=novel")
    assert found["new_texts"]
    assert found["recorded_as"] == "novel"
    assert found["trained_on"]["selection"] == {"classes": "base"}
    assert found["evaluated_on"]["selection"] == {"classes": "novel"}
    assert set(found["class_accuracy"]) == {"up", "down"}
    # The same by hand: a student of the novel classes with all trained tensors but the texts.
    novel = spec(data={**DATA, "classes": "novel"})
    results, _ = evaluate_students(
        {"a": novel}, {"a": weights_of(run, tmp_path)}, ProcessGroup(), changes={"a": WeightChanges(new_texts=True)}
    )
    assert found["metrics"]["eval/top1"] == results["a"].metrics["top1"]
    assert found["metrics"]["eval/loss"] == results["a"].loss
    kept, _ = evaluate_students({"a": novel}, {"a": weights_of(run, tmp_path)}, ProcessGroup())
    assert kept["a"].loss != results["a"].loss  # twin: the texts of the base classes


def test_the_metrics_are_stored_in_the_run(run, tmp_path):
    for _ in range(2):
        found = evaluated(run.run_id, "--set", "data.classes=novel", "--as", "half/novel")
    store = store_at("")
    stored = store.get(run.run_id)
    assert stored.metrics["on/half/novel/top1"] == found["metrics"]["eval/top1"]
    assert len(store.history(run.run_id, "on/half/novel/top1")) == 2
    document = json.loads(store.download(run.run_id, "evaluations/half/novel.json", tmp_path).read_text())
    assert document["data"]["classes"] == "novel"
    assert document["evaluated_on"]["classes"] == 2


def test_its_own_data_are_not_stored_as_others(run):
    found = evaluated(run.run_id)
    assert not found["recorded_as"]
    assert not found["new_texts"]
    assert found["metrics"]["eval/top1"] == run.metrics["eval/top1"]


def test_data_of_a_file(run, tmp_path):
    other = tmp_path / "other.yaml"
    document = spec(data={**DATA, "classes": "all", "frames": 2}).resolved() | {"name": "all-four"}
    other.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = evaluated(run.run_id, "--on", str(other))
    assert found["recorded_as"] == "all-four"
    assert found["evaluated_on"]["classes"] == 4
    # The number of frames stays the model's: the same result without it.
    assert found["metrics"] == evaluated(run.run_id, "--set", "data.classes=all")["metrics"]


def test_a_mixture_with_the_weights_before_training(run, tmp_path):
    experiment, file = spec(optimization={"learning_rate": 1e-2, "length": {"epochs": 2}}), weights_of(run, tmp_path)
    tower = experiment.backbone.build("cpu")
    initial = build_student("a", experiment, ProcessGroup(), tower).module.state_dict()
    initial = {name: tensor.clone() for name, tensor in initial.items()}
    trained = load_file(file)
    for share in (0.0, 0.25, 1.0):
        student = build_student("a", experiment, ProcessGroup(), tower)
        load_trained(student, experiment, tower, file, WeightChanges(trained_share=share))
        for name, tensor in student.module.state_dict().items():
            if tensor.is_floating_point():
                expected = (1 - share) * initial[name].double() + share * trained[name].double()
                torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-7)
    started = evaluated(run.run_id, "--trained-share", "0")
    assert started["trained_share"] == 0
    assert started["metrics"] != evaluated(run.run_id)["metrics"]


def test_predictions_name_the_classes_of_the_selection(run):
    """The data set, which says what the base classes are, is not asked."""
    model = load(run.run_id)
    assert model.classes == spec().data.listed.classes()
    video = spec().data.listed.clips("test")[0].path
    assert {name for name, _ in model.predict(video).labels} == set(model.classes)


def test_a_mixture_with_a_started_folder_on_other_classes(run, tmp_path):
    """Weights before training are the folder's, with the texts of the classes that are evaluated."""
    folder = tmp_path / "model"
    done = CliRunner().invoke(cli, ["export", run.run_id, str(folder), "--no-speed"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    changes = {"start": {"folder": str(folder)}, "optimization": {"learning_rate": 1e-2, "length": {"epochs": 1}}}
    started = launch({"started": spec(**changes)}, progress=SILENT)["started"]
    words = ("--set", "data.classes=novel", "--trained-share")
    none, half, every = (evaluated(started.run_id, *words, share) for share in ("0", "0.5", "1"))
    assert none["new_texts"]
    assert set(half["class_accuracy"]) == {"up", "down"}
    # Without any of the trained weights, it is the run that the folder is of.
    assert none["metrics"] == evaluated(run.run_id, "--set", "data.classes=novel")["metrics"]
    assert len({each["metrics"]["eval/loss"] for each in (none, half, every)}) == 3
    # The broken twin: the folder's own texts are of other classes.
    novel = spec(data={**DATA, "classes": "novel"}, **changes)
    tower = novel.backbone.build("cpu")
    with pytest.raises(InputError, match=r"start\.folder: the data set has up"):
        load_start(build_student("a", novel, ProcessGroup(), tower), novel, tower)


def test_a_sweep_stands_for_its_arms(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(spec(optimization={"length": {"epochs": 1}}).resolved()), encoding="utf-8")
    frozen = {"method": {"kind": "zero-shot"}, "task.classifier": {"kind": "text", "prompt": "it moves {}"}}
    arms = [{"label": "thin"}, {"label": "frozen", "overrides": frozen}]
    document = {"name": "halves", "base": "base.yaml", "seeds": 2, "tables": {"t": {"title": "t", "arms": arms}}}
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(yaml.safe_dump(document), encoding="utf-8")
    done = CliRunner().invoke(cli, ["sweep", str(sweep), "--local", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answers = evaluated("halves", "--set", "data.classes=novel")
    assert len(answers) == 4
    assert {each["recorded_as"] for each in answers} == {"novel"}
    store = store_at("")
    for each in answers:
        metrics = store.get(each["run_id"]).metrics
        base_top1, novel = metrics["eval/top1"], metrics["on/novel/top1"]
        expected = 2 * base_top1 * novel / (base_top1 + novel) if base_top1 and novel else 0.0
        assert metrics["on/novel/harmonic_mean"] == pytest.approx(expected)
    alone = evaluated(answers[0]["run_id"], "--set", "data.classes=novel")
    assert alone["metrics"] == answers[0]["metrics"]  # in a pass with others, and alone


def test_a_linear_classifier_knows_its_own_classes_only():
    linear = launch(
        {"base": spec(task={"classifier": {"kind": "linear"}}, method={"kind": "linear"})}, progress=SILENT
    )["base"]
    with pytest.raises(InputError) as caught:
        evaluated(linear.run_id, "--set", "data.classes=novel")
    assert "the data set has up, down, which the model does not have" in str(caught.value)
    assert "fix: name the same classes; a run with task.classifier: {kind: text}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "a b"], "--as: 'a b' · allowed: letters"),
        (["--as", ""], "--as: ''"),
        (["--trained-share", "nan"], "--trained-share: nan · allowed: 0 to 1"),
        (["--as", "a/b/c"], "--as: 'a/b/c'"),
        (["--data", "quickstart"], "is a run · allowed: with folders · fix: --on SPEC"),
        (["--data", "quickstart", "--on", "quickstart"], "--data, --on: both given"),
        (["--on", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_options(run, arguments, message):
    with pytest.raises(InputError) as caught:
        evaluated(run.run_id, *arguments)
    assert message in str(caught.value)

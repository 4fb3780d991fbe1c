"""`start`: an experiment begins with the weights of a folder, or only evaluates them beside the arms of a sweep."""

import json

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import toys
from side4video.apps.export.command import export
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.spec.bundle import BUNDLE, checksum, sealed
from side4video.spec.load import parse_experiment


@pytest.fixture
def folder(run, tmp_path):
    place = tmp_path / "model"
    assert CliRunner().invoke(export, [run.run_id, str(place), "--no-speed"], catch_exceptions=False).exit_code == 0
    return place


def document(folder, **changes):
    """The folder's own document, with a start."""
    found = json.loads((folder / "spec.json").read_text())
    return {**found, "name": "started", "start": {"folder": str(folder), "trains": False}, **changes}


def call(*arguments):
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def write(path, content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_fixed_arm_has_the_result_of_the_folder(folder, tmp_path):
    base = document(folder)
    base.pop("start")
    write(tmp_path / "base.yaml", base)
    arms = [
        {"label": "released", "overrides": {"start": {"folder": str(folder), "trains": False}}},
        {"label": "goes on", "overrides": {"start": {"folder": str(folder)}}},
        {"label": "new"},
    ]
    sweep = {"name": "starts", "base": "base.yaml", "tables": {"all": {"title": "all", "arms": arms}}}
    answer = call("sweep", write(tmp_path / "sweep.yaml", sweep), "--local", "--report", str(tmp_path / "report"))
    expected = call("evaluate", str(folder))["metrics"]
    arms = {arm["label"].removeprefix("all: "): arm["metrics"] for arm in answer["arms"]}
    assert {name: arms["released"][name] for name in expected} == expected
    held = {name: arm["plan/held_for_backward_gib"] for name, arm in arms.items()}
    assert held["released"] < 0.5 * held["goes on"] == 0.5 * held["new"]
    assert arms["goes on"]["eval/loss"] != expected["eval/loss"]
    assert arms["goes on"]["eval/loss"] != arms["new"]["eval/loss"]


def test_the_weights_of_a_fixed_student_stay(folder):
    """A step changes the others alone; a twin that is not fixed changes."""
    for is_fixed in (True, False):
        fixed, other = (toys.make_student(name, toys.METHODS["side4video"], seed=1) for name in ("fixed", "other"))
        fixed.is_fixed = is_fixed
        before = {student.name: toys.weights_of(student) for student in (fixed, other)}
        result = train_step(
            toys.make_pack(fixed, other),
            [toys.make_batch(0)],
            step=1,
            plan=Plan(7, 3),
            timer=StepTimer(torch.device("cpu")),
        )
        assert toys.same(before["fixed"], toys.weights_of(fixed)) == is_fixed
        assert not toys.same(before["other"], toys.weights_of(other))
        assert set(result.losses) == ({"other"} if is_fixed else {"fixed", "other"})


def refused(folder, tmp_path, message, **changes):
    file = write(tmp_path / "one.yaml", document(folder, **changes))
    with pytest.raises(InputError) as error:
        CliRunner().invoke(cli, ["run", file, "--local"], catch_exceptions=False)
    assert message in str(error.value)


def test_another_method_is_refused(folder, tmp_path):
    refused(folder, tmp_path, "has method side4video, and this experiment linear", method={"kind": "linear"})


def test_another_tower_is_refused(folder, tmp_path):
    backbone = json.loads((folder / "spec.json").read_text())["backbone"]
    backbone["weights"] = {"kind": "random", "seed": 77}
    refused(folder, tmp_path, "were trained on another tower", backbone=backbone)


def test_another_size_is_refused(folder, tmp_path):
    method = json.loads((folder / "spec.json").read_text())["method"]
    method = {**method, "dim": method["dim"] * 2, "size": "custom"}
    message = f"has method.dim {method['dim'] // 2}, and this experiment {method['dim']}"
    refused(folder, tmp_path, message, method=method)


def test_validate_finds_what_does_not_fit(folder, tmp_path):
    backbone = {**document(folder)["backbone"], "layers": 1}
    method = {**document(folder)["method"], "layers": 1, "size": "custom"}
    for changes, message in (
        ({"method": method}, "start.folder: "),
        ({"backbone": backbone, "method": method}, "start.folder: "),
        (
            {"start": {"folder": "", "trains": False}},
            "start.folder: empty · allowed: a folder that `side4video export`",
        ),
        ({"start": {"folder": str(tmp_path / "nosuch")}}, "start.folder: there is no folder"),
    ):
        file = write(tmp_path / "one.yaml", document(folder, **changes))
        done = CliRunner().invoke(cli, ["validate", file])
        assert done.exit_code == 2
        assert message in done.output


def test_validate_looks_at_the_starts_of_all_arms(folder, tmp_path):
    base = document(folder)
    base.pop("start")
    write(tmp_path / "base.yaml", base)
    arms = [{"label": "new"}, {"label": "gone", "overrides": {"start": {"folder": str(tmp_path / "nosuch")}}}]
    sweep = {"name": "starts", "base": "base.yaml", "tables": {"all": {"title": "all", "arms": arms}}}
    done = CliRunner().invoke(cli, ["validate", write(tmp_path / "sweep.yaml", sweep)])
    assert done.exit_code == 2
    assert "gone: start.folder: there is no folder" in done.output


def test_another_folder_under_the_same_name_is_another_result(folder):
    """The weights that a run starts from are part of what it is found by."""
    spec = parse_experiment(document(folder))
    before = spec.weights_identity()
    weights = load_file(folder / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "weights.safetensors")
    about = json.loads((folder / BUNDLE).read_text())
    about.pop("checksums")
    names = ["weights.safetensors", "spec.json", "README.md"]
    about["checksums"] = {name: checksum(folder / name) for name in names}
    (folder / BUNDLE).write_text(json.dumps(sealed(about)))
    assert parse_experiment(document(folder)).weights_identity() != before
    assert before.startswith(spec.backbone.weights.identity())


def test_a_fixed_arm_does_not_depend_on_what_trains(folder):
    spec = document(folder)
    rate = {**spec["optimization"], "learning_rate": 0.5}
    for fixed in (True, False):
        start = {"folder": str(folder), "trains": not fixed}
        digests = {
            parse_experiment({**spec, "start": start, **changes}).digest()
            for changes in ({}, {"seed": 7}, {"optimization": rate})
        }
        assert len(digests) == (1 if fixed else 3)


def test_a_changed_file_is_refused(folder, tmp_path):
    weights = load_file(folder / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "weights.safetensors")
    refused(folder, tmp_path, "the file was changed")


def test_other_classes_are_refused(folder, tmp_path):
    about = json.loads((folder / BUNDLE).read_text())
    about["classes"] = [f"class {name}" for name in about["classes"]]
    about.pop("checksums")
    names = ["weights.safetensors", "spec.json", "README.md"]
    about["checksums"] = {name: checksum(folder / name) for name in names}
    (folder / BUNDLE).write_text(json.dumps(sealed(about)))
    refused(folder, tmp_path, "start.folder: the data set has")


def test_no_such_folder(folder, tmp_path):
    refused(folder, tmp_path, "nowhere", start={"folder": str(tmp_path / "nowhere")})

"""What is wrong with a file is one line with the names of its tensors, exit code 2; nothing in it is executed."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import authors_files
import side4video
from side4video.apps.imports.command import import_checkpoint
from side4video.apps.imports.formats import FORMATS
from side4video.apps.imports.tower import GivenTower, given_tower
from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.towers.load import TowerWeights

BLOCK = "visual.transformer.side_transformer.1."


@pytest.fixture
def state():
    return authors_files.values(authors_files.side4video())


def refused(tmp_path: Path, file, *options: str, form: str = "side4video") -> str:
    """The one line; no folder is left."""
    if not isinstance(file, Path):
        torch.save({"model_state_dict": file}, tmp_path / "file.pt")
        file = tmp_path / "file.pt"
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    arguments = [form, str(file), str(tmp_path / "model"), *options]
    if "--classes" not in options and form != "clip4clip":
        arguments += ["--classes", str(tmp_path / "names.txt")]
    done = CliRunner().invoke(import_checkpoint, arguments)
    assert isinstance(done.exception, InputError), done.output or done.exception
    assert done.exception.exit_code == 2
    assert not (tmp_path / "model").exists()
    line = str(done.exception)
    assert "\n" not in line
    assert " · fix: " in line
    return line


def test_a_truncated_file(tmp_path, state):
    torch.save({"model_state_dict": state}, tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    for cut in (len(data) // 2, 1000, 0):
        (tmp_path / "cut.pt").write_bytes(data[:cut])
        assert "cut.pt cannot be read" in refused(tmp_path, tmp_path / "cut.pt")
    assert "no.pt does not exist" in refused(tmp_path, tmp_path / "no.pt")
    assert "is a folder" in refused(tmp_path, tmp_path)


class Runs:
    """What a pickle of an attacker holds: a call."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.place),)


def test_code_in_a_file_is_not_executed(tmp_path, state):
    """In a process of its own: one line, exit code 2, no traceback."""
    torch.save({"model_state_dict": state, "args": Runs(tmp_path / "executed")}, tmp_path / "code.pt")
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    call = [sys.executable, "-m", "side4video", "import", "side4video", "code.pt", "model", "--classes", "names.txt"]
    environment = {**os.environ, "PYTHONPATH": str(Path(side4video.__file__).parents[1])}
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "code.pt holds more than tensors, and reading it would run code from it" in line
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "model").exists()
    torch.load(tmp_path / "code.pt", weights_only=False)  # the twin: a reader that trusts the file executes it
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("form", authors_files.FILES)
def test_a_file_of_another_method_is_recognised(form, tmp_path):
    other = "aim" if form != "aim" else "evl"
    state = authors_files.values(authors_files.FILES[form]())
    line = refused(tmp_path, {f"module.{name}": tensor for name, tensor in state.items()}, form=other)
    assert f"it looks like a file of {form} (" in line
    assert f"fix: side4video import {form} ..." in line


def test_a_file_of_no_known_method(tmp_path):
    line = refused(tmp_path, {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)})
    assert "has no tensor visual.transformer.side_transformer.0.bn_1.weight; it is of no format that is known" in line


def test_two_missing_tensors_are_named(tmp_path, state):
    names = (f"{BLOCK}attn.in_proj_bias", "visual.ln_pre.weight")
    for name in names:
        del state[name]
    line = refused(tmp_path, state)
    assert "FILE: 2 tensors are missing: " in line
    assert all(name in line for name in names)


def test_unknown_tensors_are_named(tmp_path, state):
    line = refused(tmp_path, {**state, "visual.time_embedding": torch.zeros(4, 8), "extra": torch.zeros(1)})
    assert "FILE: 2 are unknown: visual.time_embedding, extra" in line


def test_tensors_of_another_shape_are_named(tmp_path, state):
    state[f"{BLOCK}conv.1.weight"] = torch.zeros(128, 1, 5, 1, 1)
    state[f"{BLOCK}mlp.fc1.weight"] = torch.zeros(256, 128)
    line = refused(tmp_path, state)
    assert "FILE: 2 tensors have another shape: " in line
    assert f"{BLOCK}conv.1.weight gives [5, 128], not [3, 128]" in line
    state[f"{BLOCK}conv.1.weight"] = torch.zeros(128, 1, 3, 3, 3)
    assert f"{BLOCK}conv.1.weight: shapes [[128, 1, 3, 3, 3]] do not fit" in refused(tmp_path, state)


def test_values_that_are_no_numbers_are_named(tmp_path, state):
    state["fc.bias"][1] = float("nan")
    assert "1 are not finite everywhere: fc.bias" in refused(tmp_path, state)


def test_a_head_of_other_classes(tmp_path, state):
    (tmp_path / "six.txt").write_text("\n".join("abcdef"))
    line = refused(tmp_path, state, "--classes", str(tmp_path / "six.txt"))
    assert "six.txt has 6 classes, and the file's classifier has 5" in line


def test_names_are_needed(tmp_path, state):
    torch.save(state, tmp_path / "file.pt")
    done = CliRunner().invoke(import_checkpoint, ["side4video", str(tmp_path / "file.pt"), str(tmp_path / "model")])
    assert "--classes: not given, and the classifier has 5 rows" in str(done.exception)


def test_towers(tmp_path, state):
    evl = authors_files.values(authors_files.evl())
    assert "--tower: not given, and the checkpoint does not hold the frozen tower" in refused(tmp_path, evl, form="evl")
    assert "--tower: nowhere.pt: no such file" in refused(tmp_path, evl, "--tower", "nowhere.pt", form="evl")
    assert "neither a file nor weights of open_clip" in refused(tmp_path, evl, "--tower", "ViT-X/openai", form="evl")
    torch.save({"a": torch.zeros(2)}, tmp_path / "clip.pt")
    line = refused(tmp_path, evl, "--tower", str(tmp_path / "clip.pt"), form="evl")
    assert "clip.pt holds no image tower of CLIP" in line
    other = authors_files.values(authors_files.tower("visual."))
    other["visual.transformer.resblocks.1.ln_1.bias"] = torch.zeros(3)
    torch.save(other, tmp_path / "clip.pt")
    line = refused(tmp_path, evl, "--tower", str(tmp_path / "clip.pt"), form="evl")
    assert "the file does not fit the tower: 1 have another shape" in line
    torch.save(authors_files.values(authors_files.tower("visual.")), tmp_path / "clip.pt")
    clip4clip = authors_files.values(authors_files.clip4clip())
    line = refused(tmp_path, clip4clip, "--tower", str(tmp_path / "clip.pt"), form="clip4clip")
    assert "--tower: the checkpoint holds its own tower, whole" in line


def test_pretrained_weights_of_open_clip_are_a_tower(monkeypatch):
    tensors = {"conv1.weight": torch.zeros(2)}
    monkeypatch.setattr(OpenCLIPSpec, "read_weights", lambda spec: TowerWeights(tensors, spec.weights.tag))
    found = given_tower("ViT-B-16-quickgelu/openai")
    assert found.tensors == tensors
    assert found.backbone["model"] == "ViT-B-16-quickgelu"
    assert found.backbone["weights"] == {"kind": "pretrained", "tag": "openai"}
    assert given_tower("") == GivenTower()


def test_variants_that_are_not_here(tmp_path):
    state = authors_files.values(authors_files.clip4clip())
    line = refused(tmp_path, {**state, "lstm_visual.weight_ih_l0": torch.zeros(4, 4)}, form="clip4clip")
    assert "it has lstm_visual.weight_ih_l0: seqLSTM" in line


def test_a_field_that_needs_other_tensors(tmp_path, state):
    line = refused(tmp_path, state, "--set", "method.final_norm=none")
    assert "--set: the document needs other tensors than the file has: network.final_norm.bias" in line


def test_several_models_in_a_file(tmp_path, state):
    both = OrderedDict(
        (f"{front}{name}", tensor) for front in ("student.", "teacher.") for name, tensor in state.items()
    )
    assert "holds several such models: below student., teacher." in refused(tmp_path, both)


def test_the_folder_is_left_alone(tmp_path, state):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("kept")
    torch.save(state, tmp_path / "file.pt")
    done = CliRunner().invoke(import_checkpoint, ["side4video", str(tmp_path / "file.pt"), str(tmp_path / "model")])
    assert isinstance(done.exception, InputError)
    assert (tmp_path / "model" / "mine.txt").read_text() == "kept"


def test_the_help_names_each_format():
    shown = CliRunner().invoke(import_checkpoint, ["--help"]).output
    assert all(f"  {form.name}" in shown for form in FORMATS)
    assert all(form.repository.startswith("github.com/") for form in FORMATS)

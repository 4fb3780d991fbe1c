"""`tracking.also`: a closed list, whose packages are looked for before anything starts."""

import importlib.machinery

import pytest
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.spec import check_sinks as module
from side4video.spec.check_sinks import check_sinks
from side4video.spec.load import SpecError
from tiny import tiny

BOTH = [{"kind": "tensorboard"}, {"kind": "wandb", "project": "videos", "mode": "offline"}]


def without(monkeypatch, package):
    found = importlib.machinery.ModuleSpec("any", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == package else found)


def test_a_missing_package_is_one_sentence_with_its_command(monkeypatch):
    spec = tiny(tracking={"kind": "mlflow", "also": BOTH})
    check_sinks(spec.tracking)
    without(monkeypatch, "wandb")
    with pytest.raises(InputError) as caught:
        check_sinks(spec.tracking)
    assert str(caught.value).count("\n") == 0
    assert "tracking.also.1" in str(caught.value)
    assert "pip install 'side4video[wandb]'" in str(caught.value)


@pytest.mark.parametrize("command", [["validate"], ["run", "--local"]])
def test_commands_say_it_before_anything_starts(command, monkeypatch, tmp_path):
    without(monkeypatch, "tensorboard")
    file = tmp_path / "a.yaml"
    file.write_text(tiny(tracking={"kind": "files", "folder": str(tmp_path / "runs"), "also": BOTH}).model_dump_json())
    done = CliRunner().invoke(cli, [command[0], str(file), *command[1:]])
    assert done.exit_code
    assert "pip install 'side4video[tensorboard]'" in f"{done.output}{done.exception}"
    assert not list((tmp_path / "runs").rglob("run.jsonl"))


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ([{"kind": "comet"}], "tensorboard"),
        ([{"kind": "tensorboard"}, {"kind": "tensorboard", "folder": "/a"}], "named twice"),
        ([{"kind": "tensorboard", "folder": "events"}], "relative"),
        ([{"kind": "wandb", "api_key": "x"}], "api_key"),
        ([{"kind": "wandb", "project": "a/b"}], "project"),
        ([{"kind": "wandb", "mode": "disabled"}], "offline"),
    ],
)
def test_what_is_no_place_is_refused(also, message):
    with pytest.raises(SpecError, match=message):
        tiny(tracking={"kind": "mlflow", "also": also})


def test_copies_do_not_change_what_an_experiment_is():
    assert tiny(tracking={"kind": "mlflow", "also": BOTH}).digest() == tiny().digest()

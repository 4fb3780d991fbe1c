"""`evaluate` of an exported folder gives what it gives of the run, with the tower that the folder holds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from side4video.apps.evaluate.models import EvaluatedModel, check_towers
from side4video.apps.export.command import export
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.models.towers.load import TowerWeights
from side4video.tasks.recognition.class_order import in_order_of
from tiny import tiny


def evaluated(*arguments: str):
    done = CliRunner().invoke(cli, ["evaluate", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_folder_is_evaluated_as_its_run_is(run, tmp_path):
    options = [run.run_id, str(tmp_path / "model"), "--no-speed"]
    assert CliRunner().invoke(export, options, catch_exceptions=False).exit_code == 0
    of_run, of_folder = evaluated(run.run_id), evaluated(str(tmp_path / "model"))
    for key in ("metrics", "weights", "videos", "views", "dataset_fingerprint", "dataset_fingerprint_of_run"):
        assert of_folder[key] == of_run[key]
    both = evaluated(run.run_id, str(tmp_path / "model"), "--set", "data.views.clips=1")
    assert both[0]["metrics"] == both[1]["metrics"]
    assert both[0]["views"] != of_run["views"]


def test_a_tower_that_is_another_is_refused(run, tmp_path):
    options = [run.run_id, str(tmp_path / "model"), "--no-speed"]
    assert CliRunner().invoke(export, options, catch_exceptions=False).exit_code == 0
    with pytest.raises(InputError, match=r"backbone\.weights: the tower's fingerprint is"):
        CliRunner().invoke(
            cli, ["evaluate", str(tmp_path / "model"), "--set", "backbone.weights.seed=5"], catch_exceptions=False
        )


def test_moved_folders_that_name_one_tower_are_noticed():
    """Two folders of the same document whose towers differ would share the first one's."""
    one = EvaluatedModel("a" * 32, "one", tiny(), Path(), backbone=TowerWeights({}, "1" * 64))
    check_towers([one, replace(one, name="same")])
    with pytest.raises(InputError, match=r"other: backbone: its document names the tower of another folder"):
        check_towers([one, replace(one, name="other", backbone=TowerWeights({}, "2" * 64))])


def test_rows_follow_their_names():
    state = {"head.1.weight": torch.eye(3), "head.1.bias": torch.arange(3), "network.a": torch.arange(3)}
    moved = in_order_of(("c", "a", "b"), ("a", "b", "c"), state, where="here")
    assert moved["head.1.bias"].tolist() == [2, 0, 1]
    assert moved["head.1.weight"].argmax(1).tolist() == [2, 0, 1]
    assert moved["network.a"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="here: the data set has d, which the model does not have; the model has c"):
        in_order_of(("a", "b", "d"), ("a", "b", "c"), state, where="here")

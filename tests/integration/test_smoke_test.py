"""`run --smoke`: what a run would meet is met in a few steps, and nothing is recorded."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.runs.smoke_test import shortened, smoke_test
from tiny import DOCUMENT, tiny
from validation_clips import list_with_validation

pytestmark = pytest.mark.slow


def test_it_trains_resumes_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    phases = []
    dataset = list_with_validation(tmp_path / "clips")
    spec = tiny(data={"dataset": dataset}, evaluation={"batch_size": 4})
    found = smoke_test(spec, MessageProgress(lambda message: phases.append(message["phase"])))
    assert found.evaluated == {"validation": 4, "test": 4}
    assert found.steps == 2 * (20 // 8)
    assert found.clips == 8
    assert 0 < found.wait_seconds < found.step_seconds
    assert found.checkpoint_bytes > 10_000
    assert found.held_gib > 0
    assert found.planned_gib > 0
    assert phases.count("loading the backbone") == 2  # the second training begins from the checkpoint
    assert "20 train, 10 val, 10 test" in found.looked_at
    assert not (tmp_path / "home" / "mlflow.db").exists()
    assert not (tmp_path / "home" / "runs").exists()


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(DOCUMENT))
    printed = CliRunner().invoke(cli, ["run", str(tmp_path / "tiny.yaml"), "--smoke"])
    assert printed.exit_code == 0, printed.output
    assert "Nothing was recorded." in printed.stdout
    assert "written and resumed" in printed.stdout
    answer = json.loads(CliRunner().invoke(cli, ["run", str(tmp_path / "tiny.yaml"), "--smoke", "--json"]).stdout)
    assert answer["evaluated"] == {"test": 6}
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["data"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_worker_has_the_share_of_one(workers, accumulation):
    optimization = {"batch_size": 16, "accumulation": accumulation}
    short = shortened(tiny(cluster={"workers": workers}, optimization=optimization))
    assert short.optimization.batch_size == 16 // workers
    assert short.clips_per_part == 16 // workers // accumulation
    assert short.cluster.workers == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimization": {"batch_size": 64}}, "batch_size"),
        ({"data": {"dataset": {"kind": "list", "annotations": "/nowhere/list.csv"}}}, "/nowhere/list.csv"),
        ({"evaluation": {"early_stopping": {"patience": 1}}}, "no validation split"),
    ],
)
def test_what_would_stop_the_run_stops_the_smoke_test(changes, says):
    with pytest.raises(InputError, match=says):
        smoke_test(tiny(**changes), SILENT)


def test_a_checkpoint_that_cannot_be_read_is_found(monkeypatch):
    """A twin whose checkpoint lacks a file: only a resumption sees that."""
    copy = shutil.copytree

    def copy_without_weights(source, target, *rest, **options):
        target = Path(target)
        copy(source, target, *rest, **options)
        for file in target.glob("*/weights.safetensors") if target.name == "first" else ():
            file.unlink()

    monkeypatch.setattr(shutil, "copytree", copy_without_weights)
    with pytest.raises(InputError, match="none is whole"):
        smoke_test(tiny(name="broken"), SILENT)

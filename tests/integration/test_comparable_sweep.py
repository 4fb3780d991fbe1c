"""A sweep whose arms were trained on data that changed since: no table, unless somebody wants it."""

import json

import pytest
from click.testing import CliRunner

import sweeps
from side4video.cli.sweep import sweep as sweep_command
from side4video.core.errors import InputError
from side4video.reports import comparable
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import FINGERPRINT_TAG, STATE_TAG

GRID = {"method.layers": [1, 2]}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A sweep that ran, after which one arm's data became others; and no time to train it again."""
    whole = sweeps.document("changed", {"seed": 71}, grid=GRID)
    _, result = sweeps.run(sweeps.make_sweep("changed", {"seed": 71}, grid=GRID))
    run = next(iter(result.sweep_logger.children().values()))
    MLflowStore().prepare().set_tags(run.run_id, {FINGERPRINT_TAG: "of other clips"})
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    return sweeps.as_yaml(path, {**whole, "limits": {"hours": 1e-9}}), result.sweep_logger


def invoke(file, *more):
    return CliRunner().invoke(sweep_command, [str(file), "--local", *more])


def test_arms_of_other_data_make_no_table(file, tmp_path):
    path, record = file
    done = invoke(path, "--report", str(tmp_path / "report"))
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    for word in (
        "changed: data.dataset: fingerprint ",
        "fingerprint of other cli in layers=",
        "compare_anyway: [data.dataset]",
    ):
        assert word in str(done.exception), str(done.exception)
    assert not (tmp_path / "report").exists()
    parent = record.store.get(record.parent)
    assert (parent.status, parent.tags[STATE_TAG]) == ("FAILED", "incomplete")


def test_they_do_where_the_sweep_says_so_and_the_report_says_it(file, tmp_path):
    done = invoke(file[0], "--report", str(tmp_path), "--set", "compare_anyway=[data.dataset]")
    assert done.exit_code == 1  # an arm is left for another time
    for text in (done.stdout, (tmp_path / "comparison.md").read_text(), (tmp_path / "comparison.html").read_text()):
        assert "Compared although data.dataset differs: fingerprint" in " ".join(text.split())


def test_twin_that_asks_no_run(file, monkeypatch):
    monkeypatch.setattr(comparable, "FINGERPRINT_TAG", STATE_TAG)
    done = invoke(file[0], "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["arms"]) == 2


def test_a_swept_protocol_is_told_above_the_table(tmp_path):
    whole = sweeps.document("frames", {"seed": 72}, grid={"data.frames": [2, 4]})
    done = invoke(sweeps.as_yaml(tmp_path / "sweep.yaml", whole))
    assert done.exit_code == 0, done.output
    assert "Arms differ in data.frames, as the columns say" in " ".join(done.stdout.split())

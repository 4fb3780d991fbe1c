"""Table 9 from sweeps: parts by the field that varies, the paper's rows in its order, ours beside them."""

import json

import pytest
from click.testing import CliRunner

import sweeps
from side4video.cli.report import report
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.reports.stored_sweep import read_sweep, stored_rows
from side4video.reports.table_9 import part_of, table_9_rows
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.sweep_logger import open_sweep_logger
from side4video.tracking.tags import DIGEST_TAG, FINGERPRINT_TAG, STATE_TAG, SWEEP_TAG

TABLES = {
    "temporal": {
        "arms": [{"label": "attention", "overrides": {"method.temporal": "attention"}}, {"label": "convolution"}]
    },
    "fusion": {
        "arms": [
            {"label": "top", "overrides": {"method.layers": 1, "method.fusion": "top"}},
            {"label": "interval", "overrides": {"method.layers": 1}},
        ]
    },
    "layers": {"arms": [{"label": "1 layer", "overrides": {"method.layers": 1}}, {"label": "2 layers"}]},
    "both": {
        "arms": [
            {"label": "narrow attention", "overrides": {"method.dim": 128, "method.temporal": "attention"}},
            {"label": "as it is"},
        ]
    },
}
TOP1 = {"attention": 0.579, "convolution": 0.6, "top": 0.25, "1 layer": 0.35, "narrow attention": 0.1}
"""By the first label of an arm: arms that stand in several tables have one run."""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return MLflowStore().prepare()


def recorded(store, name="ablations", fingerprint="clips", **named):
    """A sweep whose arms have the figures above."""
    sweep = sweeps.make_sweep(name, {"seed": 0}, tables=TABLES, **named)
    record = open_sweep_logger(sweep, key=f"key of {name}", plan={})
    for arm in sweep.arms:
        labels = [row.label for row in arm.rows]
        value = next((TOP1[label] for label in labels if label in TOP1), 0.6)
        tags = {SWEEP_TAG: record.key, DIGEST_TAG: arm.key, STATE_TAG: "finished", FINGERPRINT_TAG: fingerprint}
        run = store.start_run(name=arm.experiment.name, key=arm.key, tags=tags, params=arm.experiment.resolved())
        store.log(run, [Metric("eval/top1", value, 0, 1), Metric("plan/peak_memory_gib", 0.5, 0, 1)])
        store.finish(run)
    record.close(is_complete=True, artifacts=[], figures={})
    return record


def rows_of(store, name="ablations"):
    sweep, record = read_sweep(store, name)
    rows, told = stored_rows(sweep, record)
    return sweep, rows, told


def test_a_sweep_comes_back_as_it_was(store):
    recorded(store)
    sweep, rows, told = rows_of(store)
    assert [(row.table, row.label) for row in rows] == [
        (table, arm["label"]) for table, part in TABLES.items() for arm in part["arms"]
    ]
    assert told == []
    assert {row.label: row.runs[0].metrics["eval/top1"] for row in rows}["top"] == 0.25
    assert len(sweep.arms) == 5


def test_a_part_is_the_field_that_alone_varies(store):
    recorded(store)
    sweep, _, _ = rows_of(store)
    parts = {table: part_of([row for row in sweep.rows if row.table == table]) for table in TABLES}
    assert {table: part and part.name for table, part in parts.items()} == {
        "temporal": "9b",
        "fusion": "9a",  # both arms have one layer, and the paper's part is the field that differs
        "layers": "9e",
        "both": None,
    }


def test_exactly_the_expected_cells(store):
    recorded(store)
    sweep, rows, _ = rows_of(store)
    found = [
        (row.table, row.label, row.runs[0].metrics["eval/top1"] if row.runs else None, row.paper.get("top1"))
        for row in table_9_rows([(sweep, rows)])
    ]
    assert found == [
        ("9a", "top", 0.25, 0.64),
        ("9a", "interval", 0.35, 0.647),
        ("9b", "attention", 0.579, 0.579),
        ("9b", "3D conv", 0.6, 0.585),
        ("9c", "no shift", None, 0.579),
        ("9c", "shift", None, 0.585),
        ("9d", "ViT [CLS]", None, 0.547),
        ("9d", "extra [CLS]", None, 0.534),
        ("9d", "GAP", None, 0.585),
        ("9e", "4 layers", None, 0.549),
        ("9e", "6 layers", None, 0.569),
        ("9e", "12 layers", None, 0.585),
        ("9e", "1 layer", 0.35, None),
        ("9e", "2 layers", 0.6, None),
        ("9f", "dim 128", None, 0.567),
        ("9f", "dim 320", None, 0.585),
        ("9f", "dim 512", None, 0.578),
    ]


def invoke(*arguments):
    return CliRunner().invoke(report, list(map(str, arguments)))


def test_the_command_writes_every_form(store, tmp_path):
    recorded(store)
    done = invoke("table9", "--sweep", "ablations", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    lines = {(line["table"], line["label"]): line for line in answer["rows"]}
    assert lines["9b", "attention"]["eval/top1"] == 0.579
    assert lines["9b", "attention"]["paper/top1"] == 0.579
    assert lines["9b", "attention"]["difference"] == pytest.approx(-0.021, abs=1e-3)
    assert lines["9c", "shift"]["eval/top1"] is None
    assert lines["9b", "attention"]["is_reference"] is False
    assert lines["9c", "shift"]["state"] == "not run"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"comparison.md", "comparison.csv", "comparison.html", "comparison.tex", "pareto.png"} <= names
    assert r"\toprule" in (tmp_path / "out/comparison.tex").read_text()
    shown = invoke("table9", "--sweep", "ablations")
    assert "Table 9: ablations" in shown.stdout
    assert "3D conv" in shown.stdout


def test_without_a_name_those_that_reproduce_the_table_are_taken(store):
    recorded(store, "quick")
    with pytest.raises(InputError, match="no sweep here reproduces Table 9"):
        CliRunner().invoke(report, ["table9"], catch_exceptions=False)
    recorded(store, "whole", reproduces="Table 9 b")
    assert "Ours: whole" in invoke("table9").stdout


def test_other_data_are_refused(store):
    record = recorded(store)
    child = next(iter(record.children().values()))
    store.set_tags(child.run_id, {FINGERPRINT_TAG: "other clips"})
    with pytest.raises(InputError, match=r"data\.dataset: fingerprint clips"):
        CliRunner().invoke(report, ["table9", "--sweep", "ablations"], catch_exceptions=False)


def test_a_sweep_is_reported_again_and_a_run_is_no_sweep(store, tmp_path):
    recorded(store)
    done = invoke("sweep", "ablations", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "narrow attention" in done.stdout
    store.start_run(name="a run", key="k")
    with pytest.raises(InputError, match="the run a run is not of a sweep · allowed: ablations"):
        CliRunner().invoke(report, ["sweep", "a run"], catch_exceptions=False)


def test_paper_tables_have_commands(store):
    done = invoke("table2", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["rows"]) == 12
    assert "Table 5" in invoke("table5").stdout

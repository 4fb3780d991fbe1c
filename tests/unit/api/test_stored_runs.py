"""The table of runs: one row a run, numbers as numbers, times as times."""

import pandas as pd
import pytest

import side4video
from side4video.api.stored_runs import as_table
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import ROWS_TAG, STATE_TAG, SWEEP_TAG


def stored(run_id, *, status="FINISHED", params=None, metrics=None, tags=None, end_ms=1_750_000_012_500):
    return StoredRun(
        run_id, f"name-{run_id}", status, params or {}, metrics or {}, tags or {}, "", "0", 1_750_000_000_000, end_ms
    )


RUNS = [
    stored(
        "a",
        params={
            "method.dim": "64",
            "rate": "1e-05",
            "flag": "true",
            "method.kind": "linear",
            "name": "x",
            "list": "[1]",
        },
        metrics={"eval/top1": 0.5},
        tags={STATE_TAG: "diverged", SWEEP_TAG: "key", ROWS_TAG: "dim 64"},
    ),
    stored("b", status="RUNNING", params={"method.dim": "128", "rate": "null"}, end_ms=0),
]


def test_kinds_of_values():
    table = as_table(RUNS, sweeps={"key": "my-sweep"})
    assert table["run_id"].tolist() == ["a", "b"]
    assert table["state"].tolist() == ["diverged", "running"]
    assert table["method.dim"].dtype == "int64"
    assert table["rate"].iloc[0] == 1e-5
    assert pd.isna(table["rate"].iloc[1])
    assert table["flag"].iloc[0] is True
    assert table["method.kind"].iloc[0] == "linear"
    assert table["list"].iloc[0] == "[1]"
    assert table["started"].iloc[0] == pd.Timestamp("2025-06-15T15:06:40Z")
    assert table["started"].dt.tz is not None
    assert table["seconds"].iloc[0] == 12.5
    assert table["seconds"].isna().tolist() == [False, True]
    assert table["eval/top1"].iloc[0] == 0.5
    assert table["eval/top1"].isna().iloc[1]
    assert table[["sweep", "arm"]].iloc[0].tolist() == ["my-sweep", "dim 64"]
    assert table[["sweep", "arm"]].iloc[1].tolist() == ["", ""]
    assert table["name"].tolist() == ["name-a", "name-b"]


def test_texts_would_be_noticed():
    """The broken twin: values as the store has them."""
    assert pd.DataFrame([run.params for run in RUNS])["method.dim"].dtype != "int64"


def test_an_empty_store_has_the_columns(store):
    table = side4video.runs()
    assert list(table.columns) == ["run_id", "name", "state", "started", "seconds", "sweep", "arm"]
    assert len(table) == 0
    assert str(table["started"].dtype) == "datetime64[ms, UTC]"


def test_no_such_sweep(store):
    with pytest.raises(side4video.InputError, match="no run has this name or id"):
        side4video.runs(sweep="none")


def test_presets():
    table = side4video.presets().set_index("name")
    assert table.loc["quickstart", "command"] == "run"
    assert table.loc["quickstart-sweep", "arms"] == 9
    assert table["peak_memory_gib"].dtype == "float64"

"""What reports say in numbers: JSON has numbers as numbers, and a speed-up that was measured says why it differs."""

import json
from types import SimpleNamespace

import stored_home
from side4video.reports.comparison import as_values
from side4video.reports.grid import Grid, GridColumn, GridRow, grid_values
from side4video.reports.sweep_report import measured_speedup
from side4video.tracking.tags import PACK_TAG

COLUMNS = (
    GridColumn("method", is_number=False),
    GridColumn("paper", "%", group="top-1"),
    GridColumn("ours", group="top-1"),
    GridColumn("Δ", group="top-1"),
)


def grid(*cells):
    return Grid("a table", COLUMNS, (GridRow(("AIM", *cells), group="B/16"),))


def numbers_are_numbers(row):
    return all(value is None or isinstance(value, float) for name, value in row.items() if name.startswith("top-1"))


def test_cells_of_a_table_are_numbers():
    (row,) = grid_values(grid("66.4", "65.0 ± 0.5", "-1.4"))
    assert row == {
        "group": "B/16",
        "method": "AIM",
        "top-1 paper (%)": 66.4,
        "top-1 ours": 65.0,
        "top-1 ours ±": 0.5,
        "top-1 Δ": -1.4,
    }
    assert numbers_are_numbers(row)
    assert not numbers_are_numbers({"top-1 ours": "65.0"})  # the twin: as it is printed


def test_what_is_missing_is_null_and_what_is_planned_is_named():
    (row,) = grid_values(grid("–", "not run", ""))
    assert [row[name] for name in ("top-1 paper (%)", "top-1 ours", "top-1 Δ")] == [None, None, None]
    (row,) = grid_values(grid("66.4", "2.2ᵖ", ""))
    assert (row["top-1 ours"], row["planned"]) == (2.2, ["top-1 ours"])


def test_rows_of_a_sweep_are_numbers_and_texts_stay_texts():
    line = {"label": "12", "seeds": "0", "eval/top1": "0.5", "p_adjusted": "", "is_best": "true", "swept/dim": "64"}
    line |= {"swept/fusion": "top", "run_ids": "12345678"}
    values = as_values(line)
    assert values == {
        **line,
        "eval/top1": 0.5,
        "p_adjusted": None,
        "is_best": True,
        "swept/dim": 64,
    }
    assert json.loads(json.dumps(values)) == values


def arm(pack, *, alone, step=0.5, steps=20.0):
    metrics = {"time/alone_s": alone, "time/mean_step_s": step, "train/steps_trained": steps}
    return SimpleNamespace(run_id=f"{pack}{alone}", metrics=metrics, tags={PACK_TAG: pack})


def test_the_measured_speed_up_compares_steps_with_steps_and_says_why_it_differs():
    (note,) = measured_speedup([arm("a", alone=8.0), arm("a", alone=12.0), arm("b", alone=10.0)], seconds=60)
    assert note.startswith("Measured speed-up of packing: 1.50 against distinct arms one by one")  # 30 s in 10 + 10 s
    for words in ("took 20 s", "would have taken 30 s", "counts multiply-adds only", "took 1 min 00 s"):
        assert words in note
    assert measured_speedup([], seconds=60) == []
    assert measured_speedup([arm("a", alone=0.0)], seconds=60) == []


def test_a_number_may_stand_where_its_text_stood_and_nothing_else():
    for now, text in ((0.5, "0.5"), (3, "3"), (True, "true"), (None, ""), (None, "not run"), (-1.4, "-1.4")):
        assert stored_home.differences(now, text) == []
    for now, text in ((4, "3"), (False, "true"), (None, "0.5"), (1, "true"), (0.5, "top"), ([], ""), ("x", 3)):
        assert stored_home.differences(now, text) != []

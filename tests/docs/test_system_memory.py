"""Planned memory of every system: the record has every row of the paper's tables, and the picture is the record's."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import system_memory
import system_memory_picture

sys.path.append(str(Path(__file__).resolve().parents[2] / "docs"))

from generators import system_table

from side4video.planning.plan import plan_experiment
from side4video.reports.paper import PAPER_TABLES
from side4video.spec.load import load_experiment

RECORD = system_memory.RECORD


@pytest.fixture
def record():
    return json.loads(RECORD.read_text())


def rows_not_in(record) -> list[tuple[str, str, list[str], str]]:
    known = [(row["table"], row["method"], row["details"], row["group"]) for name in _LISTS for row in record[name]]
    every = [
        (table.name, row.method, list(row.details), row.group) for table in PAPER_TABLES.values() for row in table.rows
    ]
    return [row for row in every if known.count(row) != 1]


_LISTS = ("rows", "not_planned")


def test_every_row_of_tables_2_to_8_is_planned_or_said_not_to_be(record):
    """A row that names a file is planned; after a new file: python benchmarks/system_memory.py."""
    assert rows_not_in(record) == []
    files = system_memory.files_by_name()
    missing = {(row["table"], row["method"], tuple(row["details"])) for row in record["not_planned"]}
    for table in PAPER_TABLES.values():
        for row in table.rows:
            can_plan = system_memory.source_of(table, row, files) is not None
            assert can_plan == ((table.name, row.method, row.details) not in missing), (table.name, row.method)


def test_a_row_that_the_record_lacks_is_noticed(record):
    gone = record["rows"].pop()
    assert rows_not_in(record) == [(gone["table"], gone["method"], gone["details"], gone["group"])]


def test_the_papers_figures_of_the_record_are_those_of_the_tables(record):
    rows = {(row["table"], row["method"], tuple(row["details"]), row["group"]): row for row in record["rows"]}
    for table in PAPER_TABLES.values():
        for row in table.rows:
            found = rows.get((table.name, row.method, row.details, row.group), {})
            said = {key: value for key, value in found.items() if key.startswith("paper_")}
            assert said == (system_memory.papers_figures(table, row) if found else {})


def test_plans_at_another_setting_than_their_files_count_the_papers_multiply_adds(record):
    """EVL's layers, AIM's adapters and the frames of DiST are not in the tables; their multiply-adds say them."""
    changed = [row for row in record["rows"] if row["changes"]]
    assert len(changed) == len(system_memory.OTHER_SETTINGS) == 8
    for row in changed:
        assert row["multiply_adds"] / 1e12 == pytest.approx(row["paper_tflops"], rel=0.01), row["method"]


@pytest.mark.parametrize(("table", "method"), [("table2", "Side4Video, light"), ("table6", "Side4Video B/32")])
def test_a_plan_of_the_record_is_the_planners(table, method, record):
    row = next(row for row in record["rows"] if (row["table"], row["method"]) == (table, method))
    changes = (*system_memory.SETTINGS, f"optimization.batch_size={row['clips']}", *row["changes"])
    spec = load_experiment(system_memory.EXPERIMENTS / row["file"], changes)
    assert spec.clips_per_part == row["clips"]
    planned = plan_experiment(spec, classes=system_memory.CLASSES.get(table, 2))
    assert planned.peak_memory_gib == pytest.approx(row["planned_peak_gib"], abs=1e-3)


def test_only_what_is_new_or_changed_is_planned(monkeypatch, record):
    """The record has the plan of every row, so a second call plans nothing and writes the same rows."""
    planned = []
    monkeypatch.setattr("side4video.planning.plan.plan_experiment", lambda spec, **_: planned.append(spec.name))
    assert system_memory.plan_all(system_memory.plans_of(RECORD))["rows"] == record["rows"]
    assert planned == []
    first = record["rows"][0]["key"]
    without = {key: plan for key, plan in system_memory.plans_of(RECORD).items() if key != first}
    with pytest.raises(AttributeError):
        system_memory.plan_all(without)
    assert planned == ["ssv2-st-adapter-vitb16"]


def test_plans_are_shared_by_experiments_that_differ_in_no_byte():
    def key(name, *changes):
        spec = load_experiment(system_memory.EXPERIMENTS / f"{name}.yaml", (*system_memory.SETTINGS, *changes))
        return system_memory.key_of(spec, 2)

    assert key("msrvtt/vitb32") == key("vatex/vitb32")
    assert key("systems/msrvtt-cap4video-vitb16") == key("systems/vatex-cap4video-vitb16")
    assert key("msrvtt/vitb32") != key("msrvtt/vitb32", "data.frames=8")
    assert key("msrvtt/vitb32") != key("msrvtt/vitb32", "optimization.batch_size=16")


def pixels_that_differ(record, tmp_path) -> float:
    """The share of pixels of the committed picture that a new one has otherwise."""
    (tmp_path / "record.json").write_text(json.dumps(record))
    drawn = imread(system_memory_picture.write_picture(tmp_path / "record.json", tmp_path / "new.png"))
    kept = imread(system_memory.PICTURE)
    return 1.0 if drawn.shape != kept.shape else float((np.abs(drawn - kept).max(-1) > 0.1).mean())


def test_the_picture_is_the_records(record, tmp_path):
    """After a change of the record: python benchmarks/system_memory.py --draw."""
    assert pixels_that_differ(record, tmp_path) < 1e-4


def test_a_picture_of_other_figures_is_noticed(record, tmp_path):
    record["rows"][0]["planned_peak_gib"] *= 1.2
    assert pixels_that_differ(record, tmp_path) > 1e-4


def test_the_tables_of_the_page_have_every_plan(record, monkeypatch, tmp_path):
    text = system_table.systems()
    assert text.count("**Side4Video") == 4 + 13 + 4
    assert "| 2 | AIM, ViT-L/14 | 16 x 8 | 39.9 GiB | 64.3 GB | 67.6% |" in text
    assert "| Cap4Video | 16 x 12 | 21.0 GiB | – | 51.4% | 51.8% | 66.6% |" in text
    assert "CM Adapter, Tables 6, 7 and 8" in text
    next(row for row in record["rows"] if row["method"] == "Cap4Video")["planned_peak_gib"] = 77.7
    (tmp_path / "record.json").write_text(json.dumps(record))
    monkeypatch.setattr(system_table, "RECORD", tmp_path / "record.json")
    assert "| Cap4Video | 16 x 12 | 77.7 GiB | – | 51.4% | – | – |" in system_table.systems()

"""Figure 1: the paper's figures, plans at its batches, what runs measured, and the bars that are drawn of them."""

import json
import math
from pathlib import Path

import pytest

from side4video.core.errors import InputError
from side4video.planning.plan import plan_experiment
from side4video.planning.plan_cache import PlannedPeak
from side4video.reports.arms import spread
from side4video.reports.figures import memory
from side4video.reports.figures.memory import MemoryRow, files_of_table_2, memory_figure, memory_rows
from side4video.reports.paper import TABLES
from side4video.spec.load import parse_experiment
from tiny import DOCUMENT, merged

EXPERIMENTS = Path(__file__).parents[4] / "experiments"


class Planner:
    """Records the experiments that it plans, by name; each takes a GiB for every clip."""

    def __init__(self):
        self.seen = {}

    def __call__(self, spec, *, classes):
        self.seen[spec.name] = (spec, classes)
        return PlannedPeak(spec.clips_per_part * 2**30, 10 * spec.clips_per_part)


class Phases:
    """Records the reported phases."""

    def __init__(self):
        self.phases = []

    def report(self, phase, done=0, total=0, **details):
        self.phases.append(phase)


@pytest.fixture
def planner(monkeypatch):
    planner = Planner()
    monkeypatch.setattr(memory, "planned_peak", planner)
    return planner


def test_every_row_of_table_2_has_a_file_and_the_largest_tower_is_beside_them(planner):
    files = files_of_table_2(EXPERIMENTS)
    rows = memory_rows(files, None)
    names = [name for row in TABLES["table2"].rows for name in row.experiments.values()]
    assert sorted(planner.seen) == sorted([*names, "ssv2-vite14"])
    assert len(rows) == 13
    for row in TABLES["table2"].rows:
        (name,) = row.experiments.values()
        (found,) = (each for each in rows if each.experiment == name)
        assert (found.backbone, found.method, found.paper_gb) == (row.group, row.method, row.figures["memory"])
    (largest,) = (row for row in rows if row.backbone == "ViT-E/14")
    assert math.isnan(largest.paper_gb)


def test_plans_are_of_the_papers_batch_on_one_worker(planner):
    """Table 2's caption: 32 clips on B/16, 16 on L/14; the recipes say 8 workers, two copies, and other batches."""
    rows = memory_rows(files_of_table_2(EXPERIMENTS), None)
    assert {(row.backbone, row.clips) for row in rows} == {("ViT-B/16", 32), ("ViT-L/14", 16), ("ViT-E/14", 8)}
    for spec, classes in planner.seen.values():
        assert (spec.cluster.workers, spec.optimization.accumulation, spec.data.repeated_sampling) == (1, 1, 1)
        assert classes == 174
    assert all(row.planned_gib == row.clips for row in rows)


def test_a_twin_that_plans_the_recipes_batch_is_noticed(planner, monkeypatch):
    monkeypatch.setattr(memory, "SETTINGS", ())
    rows = memory_rows([EXPERIMENTS / "ssv2/vitb16.yaml"], None)
    (row,) = (row for row in rows if row.experiment == "ssv2-vitb16")
    assert row.clips != 32


def test_an_experiment_of_ones_own_is_planned_as_it_stands(tmp_path):
    document = merged(DOCUMENT, {"name": "mine", "optimization": {"batch_size": 4}})
    (tmp_path / "mine.yaml").write_text(json.dumps(document))
    progress = Phases()
    rows = memory_rows([tmp_path / "mine.yaml"], None, progress=progress)
    assert progress.phases == ["planning mine (1 of 1)"]
    (mine,) = (row for row in rows if row.experiment == "mine")
    plan = plan_experiment(parse_experiment(document), classes=174)
    assert mine.planned_gib == plan.peak_memory_gib
    assert mine.tower_parameters == plan.tower_parameters
    assert (mine.backbone, mine.clips) == ("vit", 4)
    assert all(math.isnan(row.planned_gib) for row in rows if row is not mine)


def test_a_folder_without_the_files_is_said(tmp_path):
    with pytest.raises(InputError, match=r"has no file of Table 2 · fix: install side4video anew"):
        files_of_table_2(tmp_path)


def row(backbone, method, *, paper=math.nan, planned=math.nan, measured=(), clips=32, measured_clips=32.0):
    return MemoryRow(backbone, method, "x", clips, 86_000_000, paper, planned, spread(measured), measured_clips)


ROWS = [
    row("B", "AIM", paper=35.2, planned=23.0),
    row("B", "Side4Video", paper=18.75, planned=2.5, measured=(2.0, 3.0), measured_clips=16.0),
    row("E", "Side4Video", planned=12.5, clips=8),
]


def test_bars_are_the_papers_and_the_plans_and_a_diamond_is_measured():
    report_figure = memory_figure(ROWS)
    first, second = report_figure.figure.axes
    assert [bar.get_width() for bar in first.patches] == [35.2, 23.0, 18.75, 2.5]
    assert [bar.get_width() for bar in second.patches] == [12.5]
    (mark,) = first.lines
    assert (mark.get_xdata()[0], mark.get_marker()) == (2.5, "D")
    assert first.get_title(loc="left") == "B · 86 M parameters (32 clips)"
    assert [text.get_text() for text in first.texts] == ["35.2", "23.0", "18.8", "2.5", "2.5 measured, 16 clips"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["AIM", "Side4Video"]
    (legend,) = report_figure.figure.legends
    assert [text.get_text() for text in legend.texts] == ["the paper, measured", "here, planned", "here, measured"]
    assert report_figure.numbers[1]["measured_gib"] == 2.5
    assert "Side4Video takes 8 times less here than in the paper" in report_figure.caption


def test_what_was_measured_is_told_apart_from_what_was_planned():
    report_figure = memory_figure([row("B", "AIM", planned=2.5)])
    assert [text.get_text() for text in report_figure.figure.legends[0].texts] == [
        "the paper, measured",
        "here, planned",
    ]
    assert "Measured" not in report_figure.caption
    only = memory_figure([row("B", "AIM", measured=(2.5,))])
    assert list(only.figure.axes[0].patches) == []
    assert only.numbers[0]["planned_gib"] is None


def test_smaller_backbones_stand_first(monkeypatch):
    sizes = {"ssv2-vitb16": 86, "ssv2-vitl14": 304, "ssv2-vite14": 4400}
    files = [EXPERIMENTS / f"ssv2/{name}.yaml" for name in ("vite14", "vitl14", "vitb16")]
    monkeypatch.setattr(memory, "planned_peak", lambda spec, **_: PlannedPeak(2**30, sizes[spec.name]))
    rows = [row for row in memory_rows(files, None) if math.isfinite(row.planned_gib)]
    assert [row.backbone for row in rows] == ["ViT-B/16", "ViT-L/14", "ViT-E/14"]

"""The paper's tables: their rows are the files of experiments/, their cells what runs recorded."""

import re
from pathlib import Path

import pytest
import yaml

from side4video.cli.report import report
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.reports.grid import (
    Grid,
    GridColumn,
    GridRow,
    grid_csv,
    grid_html,
    grid_latex,
    grid_markdown,
    grid_values,
)
from side4video.reports.paper import TABLES, TRANSFER_TABLES
from side4video.reports.paper_report import find_runs, paper_grid
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import FINGERPRINT_TAG
from tiny import tiny

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
FOLDERS = ("k400", "ssv1", "ssv2", "msrvtt", "msvd", "vatex", "comparisons", "systems", "clip-towers", *TRANSFER_TABLES)
FILES = {
    yaml.safe_load(file.read_text())["name"]: file
    for folder in (
        "k400",
        "ssv1",
        "ssv2",
        "msrvtt",
        "msvd",
        "vatex",
        "comparisons",
        "systems",
        "clip-towers",
        *TRANSFER_TABLES,
    )
    for file in (EXPERIMENTS / folder).glob("*.yaml")
}
OUR_ROWS = [
    (table.name, row, dataset, name)
    for table in TABLES.values()
    for row in table.rows
    for dataset, name in row.experiments.items()
    if row.figures
]


@pytest.mark.parametrize(("table", "row", "dataset", "name"), OUR_ROWS, ids=lambda value: str(value)[:40])
def test_a_row_is_a_file_whose_header_has_its_figures(table, row, dataset, name):
    """Both were written from the paper, one after the other; a slip in either is seen."""
    header = " ".join(line.lstrip("# ") for line in FILES[name].read_text().splitlines() if line.startswith("#"))
    figures = {key.removeprefix(dataset): value for key, value in row.figures.items()}
    said = {
        "top1": re.search(r"top-1 (\d+\.\d)%", header),
        "top5": re.search(r"top-5 (\d+\.\d)%", header),
        "tflops": re.search(r"(\d+\.\d+) TFLOPs", header),
        "gflops": re.search(r"(\d+) GFLOPs", header),
        "memory": re.search(r"(\d+\.\d) GB of training memory", header),
        "hmdb51": re.search(r"HMDB51 (\d+\.\d)%", header),
        "ucf101": re.search(r"UCF101 (\d+\.\d)%", header),
        "k600": re.search(r"Kinetics-600 (\d+\.\d)%", header),
        "base": re.search(r"base (\d+\.\d)%", header),
        "novel": re.search(r"novel (\d+\.\d)%", header),
        "harmonic": re.search(r"harmonic mean (\d+\.\d)%", header),
        "t2v_r1": re.search(r"text-to-video R@1 (\d+\.\d)", header),
    }
    compared = [key for key, found in said.items() if found and key in figures]
    assert compared, header
    for key in compared:
        assert float(said[key][1]) == figures[key], (name, key)


def test_every_file_of_a_row_stands_in_a_table():
    named = {name for _, _, _, name in OUR_ROWS}
    of_tables = {
        name
        for name, file in FILES.items()
        if re.search(r"Table [2-8] of the paper: ", file.read_text()) and "sweep" not in file.read_text()[:400]
    }
    assert {"ssv2-vitb16-8f", "k400-bike-vitl14", "ssv2-video-swin", "vatex-ts2-net-vitb32"} <= of_tables
    assert of_tables - named == set()


def test_each_table_is_a_command_and_its_rows_have_its_columns():
    assert set(TABLES) < set(report.commands)
    for table in TABLES.values():
        keys = {column.key for column in table.columns}
        assert all(row.figures.keys() <= keys for row in table.rows), table.name


def test_counts_of_rows():
    counts = {
        "table2": 12,
        "table3": 3,
        "table4": 15,
        "table5": 15,
        "table6": 12,
        "table7": 9,
        "table8": 9,
    }
    assert {name: len(TABLES[name].rows) for name in counts} == counts


def test_multiply_adds_that_leave_attention_out_are_said_to():
    """The files of these systems say so too, each with what is counted when nothing is left out."""
    for name, systems in (("table4", {"ATM": "1.31 T"}), ("table5", {"Text4Vis": "2.59 T", "BIKE": "1.30 T"})):
        (note,) = (each for each in TABLES[name].conventions if "leave attention out" in each)
        for system, counted in systems.items():
            assert system in note
            assert counted in note
    saying = {name for name, file in FILES.items() if "that number leaves attention out" in file.read_text()}
    rows = {name for _, row, _, name in OUR_ROWS if row.method.rstrip(" †") in ("ATM", "Text4Vis", "BIKE")}
    assert saying == rows != set()


# ---- cells from a store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    return MLflowStore(f"sqlite:///{tmp_path}/mlflow.db").prepare()


def record(store, name, metrics, *, seed=0, fingerprint="ssv2", state="finished", arm=False, **changes):
    spec = tiny(name=name, seed=seed, **changes)
    params = {**spec.resolved(), **({"arm/layers": 3} if arm else {})}
    tags = {FINGERPRINT_TAG: fingerprint, "state": state}
    record.count += 1
    run = store.start_run(name=name, key=f"{name}/{record.count}", tags=tags, params=params)
    store.log(run, [Metric(key, value, 0, 1) for key, value in metrics.items()])
    store.finish(run)
    return run


record.count = 0

LIGHT = {
    "eval/top1": 0.68125,
    "plan/multiply_adds_all_views": 445.2e9,
    "model/trainable_parameters": 4_200_000.0,
    "plan/peak_memory_gib": 1.74,
}


def cells_of(grid, method, group="ViT-B/16"):
    (row,) = (row for row in grid.rows if row.group == group and row.cells[0] == method)
    return dict(zip([column.title for column in grid.columns], row.cells, strict=True)), row


def test_cells_are_the_papers_ours_and_the_difference(store):
    record(store, "ssv2-vitb16-light", LIGHT)
    record(store, "ssv2-vitb16-light", {**LIGHT, "eval/top1": 0.69125}, seed=1)
    record(store, "ssv2-vitb16", {**LIGHT, "eval/top1": 0.7, "memory/peak_gib": 2.9})
    grid = paper_grid(TABLES["table2"], store)
    cells, row = cells_of(grid, "Side4Video, light")
    assert row.is_own
    assert cells == {
        "method": "Side4Video, light",
        "status": "measured",
        "GFLOPs paper (G)": "445",
        "GFLOPs ours": "445 ± 0",
        "GFLOPs Δ": "+0",
        "trained paper (M)": "4",
        "trained ours": "4 ± 0",
        "trained Δ": "+0",
        "memory paper (G)": "8.9",
        "memory ours": "1.7 ± 0.0ᵖ",
        "memory Δ": "-7.2",
        "top-1 paper (%)": "68.6",
        "top-1 ours": "68.6 ± 0.7",
        "top-1 Δ": "+0.0",
    }
    cells, _ = cells_of(grid, "Side4Video")
    assert (cells["memory ours"], cells["top-1 ours"], cells["top-1 Δ"]) == ("2.9", "70.0", "-0.2")
    cells, row = cells_of(grid, "AIM")
    assert (cells["top-1 paper (%)"], cells["top-1 ours"], cells["top-1 Δ"]) == ("66.4", "not run", "")
    assert (row.is_own, cells["status"]) == (False, "planned")
    assert grid.legend[0].startswith("Status: measured, ")
    assert grid.legend[0] in grid_markdown(grid)
    assert any(note.startswith("Not run here: ssv2-aim-vitb16, ") for note in grid.notes)
    assert any("mean ± sample standard deviation" in note for note in grid.notes)


def test_a_row_says_where_its_figures_come_from(store):
    """Measured where a run fills it, planned where a file can, quoted where there is none; each row says one."""
    record(store, "msrvtt-vitb32", {"eval/t2v_r1": 0.45})
    record(store, "msrvtt-clip2video-vitb32", {"eval/t2v_r1": 0.45}, state="diverged")
    values = grid_values(paper_grid(TABLES["table6"], store))
    status = {row["method"]: row["status"] for row in values}
    assert [name for name, each in status.items() if each == "measured"] == ["Side4Video B/32"]
    assert [name for name, each in status.items() if each == "quoted"] == [
        row.method for row in TABLES["table6"].rows if not row.experiments
    ]
    assert status["CLIP2Video"] == status["Cap4Video"] == "planned"
    assert set(status.values()) == {"measured", "planned", "quoted"}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_row_has_a_status_in_every_form(table, store):
    grid = paper_grid(table, store)
    assert [row["status"] for row in grid_values(grid)] == [
        "planned" if row.experiments else "quoted" for row in table.rows
    ]
    for text in (grid_markdown(grid), grid_csv(grid), grid_html(grid), grid_latex(grid)):
        words = text.split("Status: ")[0]
        assert words.count("planned") + words.count("quoted") >= len(table.rows)
    for text in (grid_markdown(grid), grid_html(grid), grid_latex(grid)):
        assert "Status: measured, a run of this store" in text


def test_a_sweeps_arm_and_other_settings_are_not_the_experiment(store):
    record(store, "ssv2-vitb16", {**LIGHT, "eval/top1": 0.1})
    newest = record(store, "ssv2-vitb16", LIGHT, optimization={"learning_rate": 2e-3})
    record(store, "ssv2-vitb16", {**LIGHT, "eval/top1": 0.9}, arm=True)
    record(store, "ssv2-vitb16", {**LIGHT, "eval/top1": 0.9}, state="diverged")
    found = find_runs(store, "ssv2-vitb16")
    assert [run.run_id for run in found.runs] == [newest]
    assert found.others == 1
    grid = paper_grid(TABLES["table2"], store)
    assert "ssv2-vitb16: 1 finished runs with other settings than the newest are not used." in grid.notes


def test_other_data_are_refused_and_named_and_may_be_allowed(store):
    record(store, "ssv2-vitb16-light", LIGHT)
    record(store, "ssv2-vitb16", LIGHT, fingerprint="half of it")
    with pytest.raises(InputError, match=r"table2: data\.dataset: fingerprint .* fix: .*--anyway data\.dataset"):
        paper_grid(TABLES["table2"], store)
    grid = paper_grid(TABLES["table2"], store, anyway=["data.dataset"])
    assert grid.notes[0].startswith("Compared although data.dataset differs: ")


def test_two_data_sets_of_one_table_are_not_compared_with_each_other(store):
    both = {"eval/top1": 0.5, "eval/top5": 0.8, "plan/multiply_adds_per_view": 0.176e12}
    record(store, "ssv1-vitb16-8f", both, fingerprint="v1")
    record(store, "ssv2-vitb16-8f", {**both, "eval/top1": 0.6}, fingerprint="v2")
    grid = paper_grid(TABLES["table4"], store)
    ours = [row for row in grid.rows if row.is_own]
    assert len(ours) == 1
    cells = dict(zip([column.title for column in grid.columns], ours[0].cells, strict=True))
    assert (cells["V1 top-1 ours"], cells["V2 top-1 ours"], cells["TFLOPs a view ours"]) == ("50.0", "60.0", "0.18")
    assert cells["frames x crops x clips"] == "8 x 3 x 2"
    exact = {"augmentation": {"resize": {"kind": "exact", "height": 40, "width": 50}}}
    record(store, "ssv2-vitb16-16f", both, fingerprint="v2", data=exact)
    with pytest.raises(InputError, match=r"table4: data\.augmentation\.resize"):
        paper_grid(TABLES["table4"], store)


# ---- forms

GRID = Grid(
    "A & B_50%",
    (GridColumn("method", is_number=False), GridColumn("paper", "%", group="top-1"), GridColumn("ours", group="top-1")),
    (GridRow(("x<y|z", "58.5", "1 ± 2ᵖ"), "Frozen"), GridRow(("Ours", "–", "not run"), "Frozen", is_own=True)),
    ("50% of #1",),
)


def test_forms_hold_every_cell_and_break_on_none():
    markdown = grid_markdown(GRID)
    assert "| **Ours** | – | not run |" in markdown
    assert r"x\<y\|z" in markdown
    assert grid_csv(GRID).splitlines() == [
        "group,method,top-1 paper (%),top-1 ours",
        "Frozen,x<y|z,58.5,1 ± 2ᵖ",
        "Frozen,Ours,–,not run",
    ]
    html = grid_html(GRID)
    assert "x&lt;y|z" in html
    assert html.count("<td") == 6
    latex = grid_latex(GRID)
    assert r"\caption{A \& B\_50\%}" in latex
    assert r"x\textless{}y|z & 58.5 & 1 $\pm$ 2\textsuperscript{p} \\" in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert r"\multicolumn{2}{c}{top-1}" in latex
    assert r"\cmidrule(lr){2-3}" in latex
    assert r"\textbf{Ours}" in latex

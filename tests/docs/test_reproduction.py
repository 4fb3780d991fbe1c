"""The reproduction guide: every row has a file that is valid, a command that is right, and figures that are stored."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs"))

from generators import reproduction  # noqa: E402

from doc_blocks import Block  # noqa: E402 - docs/ holds no package of ours
from doc_commands import commands_of, parse  # noqa: E402
from side4video.core.paths import variables  # noqa: E402
from side4video.reports.paper import PAPER_TABLES, PaperRow, PaperTable  # noqa: E402
from side4video.reports.table_9 import TABLE_9  # noqa: E402
from side4video.spec.arm import load_sweep  # noqa: E402
from side4video.spec.load import load_experiment  # noqa: E402

ALL_ROWS = [(table, row) for table in PAPER_TABLES.values() for row in table.rows]
ROWS = [(table, row) for table, row in ALL_ROWS if row.experiments]
COMMAND = re.compile(r"`([A-Z0-9]+=\S+ side4video \w+ experiments/[^`]+)`")


@pytest.fixture(scope="module")
def page():
    return reproduction.reproduction_page()


def cells_of(page: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda each: getattr(each, "name", getattr(each, "method", "")))
def test_each_row_has_a_file_that_is_valid_and_named_so(table, row):
    for name in reproduction.names_of(row):
        known = reproduction.known(name)
        assert load_experiment(known.path).name == name
        assert known.needs, f"{name} names no folder of data"
        assert set(known.needs) <= set(variables(known.path.read_text()))


@pytest.mark.parametrize("part", TABLE_9, ids=lambda part: part.name)
def test_each_row_of_table_9_is_an_arm_of_its_sweep(part):
    sweep = load_sweep(reproduction.known(f"table{part.name[0]}-{part.name[1:]}").path)
    key = part.field.rpartition(".")[2]
    values = {json.dumps(getattr(row.experiment.method, key)) for row in sweep.rows}
    assert values == {json.dumps(setting.value) for setting in part.settings}
    assert len(sweep.rows) == len(part.settings)


def rows_of(page: str, table: PaperTable) -> list[list[str]]:
    section = page.split(f"## {table.title}\n")[1].split("\n## ")[0]
    return cells_of(section)[1:]


def lost_rows(page: str) -> list[str]:
    """Rows of the paper's tables that have no line in their place, or whose line has another status."""
    lost = []
    for table in PAPER_TABLES.values():
        lines = rows_of(page, table)
        for place, row in enumerate(table.rows):
            cells = lines[place] if place < len(lines) else ["", "", ""]
            mark = "**planned**" if row.experiments else "**quoted**"
            if not cells[0].startswith(row.method) or not cells[2].startswith(mark):
                lost.append(f"{table.name}: {row.method}")
        lost += [f"{table.name}: {cells[0]} is no row" for cells in lines[len(table.rows) :]]
    return lost


def test_every_row_of_the_paper_is_planned_or_quoted_in_the_papers_order(page):
    """Nothing was measured on a GPU here; where something is, its row says measured."""
    assert lost_rows(page) == []


def test_a_row_that_the_page_leaves_out_is_noticed(page):
    line = next(line for line in page.splitlines() if line.startswith("| CM Adapter"))
    assert "table6: CM Adapter" in lost_rows(page.replace(f"{line}\n", "", 1))
    assert lost_rows(page.replace("**quoted**", "**planned**", 1))


def test_no_two_rows_of_a_table_are_called_the_same(page):
    for table in PAPER_TABLES.values():
        labels = [cells[0] for cells in rows_of(page, table)]
        assert len(set(labels)) == len(labels), table.name


def test_each_row_stands_in_the_page_with_its_figures(page):
    rows = cells_of(page)
    for table, row in ROWS:
        (found,) = [cells for cells in rows if _is(cells, table, row)]
        for column in table.columns:
            if column.key in row.figures:
                assert f"{row.figures[column.key]:.{column.decimals}f}" in found[1], (table.name, row.method)
        assert "needs" in found[2]


def _is(cells, table: PaperTable, row: PaperRow) -> bool:
    files = [reproduction.known(name).shown_path for name in reproduction.names_of(row)]
    is_of_table = cells[0].startswith(row.method) and len(cells) == 4
    first = table.columns[0]
    figure = f"{row.figures[first.key]:.{first.decimals}f}"
    return is_of_table and all(file in cells[3] for file in files) and figure in cells[1].split("<br>")[0]


def test_each_command_can_be_given(page):
    commands = COMMAND.findall(page)
    assert len(commands) > 50
    for line in commands:
        (command,) = commands_of(Block("reproduction", 0, "bash", line))
        parse(command)
        path = ROOT / command.words[2]
        is_sweep = "base:" in path.read_text()
        assert command.words[1] == ("sweep" if is_sweep else "run")
        source = (path.parent / load_sweep(path).spec.base) if is_sweep else path
        assert set(command.environment) <= set(variables(source.read_text()))


def test_planned_figures_are_the_stored_ones(page):
    rows = json.loads((ROOT / "benchmarks/results/memory-cpu.json").read_text())["rows"]
    planned = {(row["table"], row["name"]): row["planned_peak_gib"] for row in rows if "planned_peak_gib" in row}
    found = {cells[0]: cells[2] for cells in cells_of(page) if len(cells) >= 3}
    for label, key in (
        ("AIM, ViT-B/16", ("2, ViT-B/16", "AIM")),
        ("Side4Video, light, ViT-L/14", ("2, ViT-L/14", "Side4Video 12 x 320")),
        ("ViT [CLS]", ("9d", "ViT [CLS]")),
        ("dim 512", ("9f", "dim 512")),
        ("12 layers", ("2, ViT-B/16", "Side4Video 12 x 320")),
    ):
        assert f"{planned[key]:.1f} GiB" in found[label]
        assert "measured" not in found[label]


# ---- the twins


def again(monkeypatch, **changes):
    for name, value in changes.items():
        monkeypatch.setattr(reproduction, name, value)
    reproduction.stored.cache_clear()
    reproduction.files.cache_clear()
    try:
        return reproduction.reproduction_page()
    finally:
        monkeypatch.undo()
        reproduction.stored.cache_clear()
        reproduction.files.cache_clear()


def test_a_row_without_a_file_is_noticed(monkeypatch):
    lost = PaperRow("Side4Video", {"t2v_r1": 1.0}, experiments={"": "no-such-experiment"})
    table = PaperTable("table3", "Table 3", PAPER_TABLES["table3"].columns, (lost,))
    with pytest.raises(KeyError, match="no-such-experiment"):
        again(monkeypatch, PAPER_TABLES={"table3": table})


def test_what_is_stored_is_what_is_shown(monkeypatch, tmp_path):
    """A measurement that a GPU left is shown as one, with the device; another plan is another figure."""
    for file in reproduction.RESULTS.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "memory-cpu.json").read_text())
    row = next(each for each in record["rows"] if each["name"] == "AIM" and "B/16" in each["table"])
    row["planned_peak_gib"] = 77.7
    (tmp_path / "memory-cpu.json").write_text(json.dumps(record))
    measured = {"rows": [{**row, "peak_gib": 33.3}], "environment": {"gpu": "a device"}}
    (tmp_path / "memory-a-device.json").write_text(json.dumps(measured))
    page = again(monkeypatch, RESULTS=tmp_path)
    (cells,) = [cells for cells in cells_of(page) if cells[0] == "AIM, ViT-B/16"]
    assert "**measured** memory: 33.3 GiB, 32 clips, a device" in cells[2]
    assert "77.7 GiB" in cells[2]

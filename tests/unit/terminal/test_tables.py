"""Tables of a terminal: no column vanishes and no number is cut, whatever the width."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from side4video.terminal.tables import FittedTable, TextColumn, fitted

WIDE = {
    "arm": ["a long name of an arm that is folded", "short"],
    "fusion": ["interval", "top"],
    **{f"metric {number}": [f"12.{number}", "1,234,567"] for number in range(8)},
    "seeds": ["3", "12 of 30"],
}


def printed(table, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()


def as_one_table(columns):
    """The twin: Rich's own table, which cuts columns that do not fit."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def keeps_everything(table, width):
    text = printed(table, width)
    words = set(text.split())
    numbers = {cell for name, cells in WIDE.items() if name != "arm" for cell in cells for cell in cell.split()}
    headings = {word for name in WIDE for word in name.split()}
    return max(map(len, text.splitlines())) <= width and numbers | headings <= words


@pytest.mark.parametrize("width", [40, 60, 80, 120, 300])
def test_no_column_vanishes_and_no_number_is_cut(width):
    assert keeps_everything(fitted(WIDE, texts=("arm", "fusion")), width)


def test_twin_that_is_one_table_loses_columns():
    assert not keeps_everything(as_one_table(WIDE), 80)
    assert keeps_everything(as_one_table(WIDE), 300)


def test_each_block_names_its_rows_and_a_wide_terminal_has_one():
    assert printed(fitted(WIDE, texts=("arm", "fusion")), 300).count("short") == 1
    blocks = printed(fitted(WIDE, texts=("arm", "fusion")), 60)
    assert blocks.count("short") == blocks.count("\n\n") + 1 > 1


def test_numbers_are_aligned_to_the_right():
    lines = printed(fitted({"arm": ["a", "b"], "n": ["1", "1,000"]}, texts=("arm",)), 80).splitlines()
    assert {len(line.rstrip()) for line in lines} == {len("arm") + 2 + len("1,000")}


def test_title_and_caption_stay_within_the_width():
    table = FittedTable((TextColumn("a", ("b",)),), title="title", caption="word " * 40, max_width=50)
    text = printed(table, 200)
    assert text.startswith("title")
    assert max(map(len, text.splitlines())) <= 50
    assert text.count("word") == 40


def test_markup_in_a_cell_is_text():
    assert "[red]" in printed(fitted({"arm": ["[red]"]}, texts=("arm",)), 80)

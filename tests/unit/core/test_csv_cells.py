"""A spreadsheet finds no formula in a CSV file, and the platform finds the texts that were written."""

import csv
import io

import pytest

from side4video.core.csv_cells import cell_text, csv_rows, text_cell

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x", "-", "--1", "+1_0", "-٣"]
TEXTS = ["", "a", "a=b", "'", "'a", "1", "-0.5", "+1e9", "-inf", "a,b\n\"c'", "–"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text):
    assert text_cell(text) == f"'{text}"
    assert cell_text(text_cell(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_other_texts_and_numbers_stay(text):
    assert text_cell(text) == text
    assert cell_text(text) == text


def test_a_file_is_read_as_it_was_written():
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["number", "text"])
    texts = [*FORMULAS, *TEXTS, "a\u2028b\x85c\x1cd"]
    writer.writerows([-0.5, text_cell(text)] for text in texts)
    assert [row["text"] for row in csv_rows(file.getvalue())] == texts
    assert {row["number"] for row in csv_rows(file.getvalue())} == {"-0.5"}
    plain = [row["text"] for row in csv.DictReader(file.getvalue().splitlines())]
    assert plain != texts  # the broken twin ends lines where no line ends

"""Names of arms, classes and data may hold anything: `$`, LaTeX, HTML, a spreadsheet's formula, control characters."""

import csv
import io
import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from side4video.core.csv_cells import csv_rows
from side4video.reports.columns import as_markdown
from side4video.reports.comparison import as_csv, as_values, compare_rows
from side4video.reports.figures import style
from side4video.reports.figures.confusion import confusion_figure, confusion_of
from side4video.reports.figures.figure import figure_html, write_figure
from side4video.reports.figures.predictions import Prediction, Predictions
from side4video.reports.figures.style import figure_bytes, label_axes, legend_below, new_figure, style_axes
from side4video.reports.grid import Grid, GridColumn, GridRow, escape_latex, grid_csv, grid_html, grid_latex
from side4video.reports.tables import write_comparison

NAMES = (
    "a $x$ b",
    "$\\frac{$",
    "x_1^2 \\input{a} 5% & ~ # {}",
    "<script>alert(1)</script>",
    "=1+1",
    "\x1b]0;a\x07\u202eb",
)


@pytest.fixture
def rows(arm):
    return [
        arm(name, 0.4 + number / 20, table=name, swept={"temporal": name, "layers": number, "rate": -0.5})
        for number, name in enumerate(NAMES)
    ]


def test_a_report_of_such_names_has_all_its_files(rows, tmp_path):
    about = {"title": NAMES[0], "metric": "eval/top1", "mode": "max", "notes": NAMES, "source": " ".join(NAMES)}
    files = write_comparison(tmp_path, rows, **about)
    assert {file.name for file in files} >= {"comparison.csv", "comparison.html", "comparison.tex", "pareto.png"}
    for file in files:
        if file.suffix != ".png":
            text = file.read_text()
            assert file.suffix == ".csv" or not re.search("[\x1b\x07\u202e]", text), file
            assert file.suffix == ".csv" or "<script" not in text.replace("\\<script", ""), file


@pytest.fixture
def found():
    pairs = [(label, guess) for label in NAMES for guess in (label, NAMES[0])]
    videos = tuple(Prediction(number, label, guess) for number, (label, guess) in enumerate(pairs))
    return Predictions(videos, NAMES)


def everything(figure):
    """Names in each place where a figure has text."""
    axes = style_axes(figure.subplots())
    axes.set_title(NAMES[0])
    label_axes(axes, x=NAMES[1], y=NAMES[2])
    lines = [axes.plot([0, number], label=name)[0] for number, name in enumerate(NAMES)]
    axes.set_xticks(range(len(NAMES)), NAMES)
    axes.text(0, 0, NAMES[1])
    axes.annotate(NAMES[1], (0, 0))
    legend_below(figure, lines, NAMES)
    axes.legend()
    figure.text(0, 0, NAMES[1])
    return figure


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_each_text_of_a_figure_is_drawn(kind):
    figure = everything(new_figure(8, 4, layout="constrained"))
    assert figure_bytes(figure, kind, below=" ".join(NAMES))
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert shown == {*NAMES[:5], r"\u001b]0;a\u0007\u202eb"}


def test_a_figure_of_matplotlib_is_noticed(monkeypatch):
    """The broken twin: its text is a formula."""
    monkeypatch.setattr(style, "PlainFigure", Figure)
    figure = everything(new_figure(8, 4, layout="constrained"))
    with pytest.raises(ValueError, match="Parse"):
        figure_bytes(figure, "png")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_figure_of_such_classes(found, tmp_path):
    figure = replace(
        confusion_figure(confusion_of(found), run=NAMES[1]), heading=NAMES[5], caption=NAMES[3], source=NAMES[1]
    )
    assert len(write_figure(tmp_path, figure)) == 3
    assert not re.search("[\x1b\x07\u202e]|<script", figure_html(figure))


def test_numbers_of_a_csv_stay_and_names_are_no_formulas(rows):
    text = as_csv(compare_rows(rows, metric="eval/top1", mode="max"))
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {"'=1+1"} == {line["label"] for line in found if line["label"].endswith("=1+1")}
    assert {line["swept/rate"] for line in found} == {"-0.5"}
    assert not any(cell.startswith(("=", "+", "@")) for line in found for cell in line.values())
    again = [as_values(line) for line in csv_rows(text)]
    assert {line["label"] for line in again} == set(NAMES)
    assert {line["swept/rate"] for line in again} == {-0.5}


def test_a_grid_of_such_names():
    columns = (GridColumn("name", is_number=False), GridColumn("Δ", is_number=True))
    grid = Grid(NAMES[3], columns, tuple(GridRow((name, "+0.5 ± 0.1"), group=name) for name in NAMES), notes=NAMES)
    found = list(csv.reader(io.StringIO(grid_csv(grid), newline="")))
    assert found[5] == ["'=1+1", "'=1+1", "+0.5 ± 0.1"]
    assert not re.search("[\x1b\x07\u202e]|<script", grid_html(grid) + grid_latex(grid).replace("\\textless{}", ""))
    assert escape_latex(NAMES[2]) == (
        r"x\_1\textasciicircum{}2 \textbackslash{}input\{a\} 5\% \& \textasciitilde{} \# \{\}"
    )
    assert escape_latex("\x1b$") == r"\textbackslash{}u001b\$"


def test_a_table_of_markdown(rows):
    text = as_markdown(compare_rows(rows, metric="eval/top1", mode="max"))
    assert r"\<script>" in text
    assert "\x1b" not in text

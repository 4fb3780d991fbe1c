"""The comparison table: who is compared with whom, who may be best, and what each printed form keeps."""

import csv
import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from side4video.reports.arms import best_rows, counted_runs, distinct_arms, metric_spread, varying_fields
from side4video.reports.columns import as_markdown, as_rich, columns
from side4video.reports.comparison import as_csv, compare_rows, explanation
from side4video.reports.significance import compare, holm
from side4video.tasks.metrics import metric_title


def cells(table, key):
    return next(each.cells for each in columns(table) if each.key == key)


def read_csv(table):
    return list(csv.DictReader(io.StringIO(as_csv(table))))


# ---- who is best


def best_labels(rows, **options):
    return [line.label for line in compare_rows(rows, **options).arms if line.is_best]


def cut_short(arm, states):
    return [arm("good", 0.5), arm("cut short", 0.9, states=states), arm("poor", 0.3)]


def best_of_all(rows, metric):
    means = [metric_spread(row, metric).mean for row in rows]
    return {means.index(max(means))}


@pytest.mark.parametrize(
    "states", [("stopped",) * 3, ("finished", "finished", "stopped"), ("finished", "diverged", "finished")]
)
def test_an_arm_that_was_cut_short_is_marked_and_never_best(arm, states):
    rows = cut_short(arm, states)
    assert best_labels(rows) == ["good"]
    assert best_of_all(rows, "eval/top1") == {1} != best_rows(rows, "eval/top1", mode="max")
    markdown = as_markdown(compare_rows(rows)).splitlines()
    assert "**" in markdown[2]
    assert "**" not in markdown[3]
    assert states[1] in markdown[3]
    assert " *" in markdown[3]


def test_lower_can_be_better(arm):
    rows = [arm("poor", 0.3), arm("good", 0.5)]
    assert best_labels(rows, metric="eval/loss", mode="min") == ["good"]
    assert best_labels(rows, metric="eval/loss", mode="max") == ["poor"]


def test_equal_arms_are_all_best_and_unknown_ones_are_not(arm):
    good = arm("good", 0.5)
    rows = [good, replace(good, label="same"), arm("refused", 0.9, states=("refused",) * 3), replace(good, runs=())]
    assert best_labels(rows) == ["good", "same"]


def test_finished_runs_count_and_stopped_ones_only_without_them(arm):
    mixed = arm("mixed", 0.5, states=("finished", "stopped", "diverged"))
    assert [run.state for run in counted_runs(mixed)] == ["finished"]
    none = arm("none", 0.5, states=("failed", "stopped", "diverged"))
    assert [run.state for run in counted_runs(none)] == ["stopped"]
    assert cells(compare_rows([mixed, none]), "seeds") == ("1 of 3", "1 of 3")


# ---- who is compared with whom


def test_each_table_has_its_reference_and_its_own_correction(table_9_rows):
    table = compare_rows(table_9_rows)
    assert [line.label for line in table.arms] == [row.label for row in table_9_rows]
    assert [line.label for line in table.arms if line.is_reference_here] == ["12 x 320"] * 5
    for name in ("9b", "9d", "9f"):
        lines = [line for line in table.arms if line.table == name]
        reference = next(line for line in lines if line.is_reference_here)
        made = [line.comparison for line in lines if line.comparison]
        assert len(made) == len(lines) - 1
        raw = [compare(reference, line).p_mcnemar for line in lines if not line.is_reference_here]
        assert [each.p_adjusted for each in made] == holm(raw)
    assert any(line.comparison and line.comparison.p_adjusted > line.comparison.p_mcnemar for line in table.arms)


def test_a_table_without_a_reference_takes_the_first_of_all(arm):
    rows = [arm("base", 0.4, table="a", is_reference=True), arm("other", 0.6, table="b")]
    assert compare_rows(rows).arms[1].comparison == compare(*rows)
    assert all(line.comparison is None for line in compare_rows([replace(rows[0], is_reference=False), rows[1]]).arms)


def test_the_reference_under_another_name_is_not_compared_with_itself(arm):
    base = arm("base", 0.4, is_reference=True)
    line = compare_rows([base, replace(base, label="again", is_reference=False)]).arms[1]
    assert line.is_reference_here
    assert line.comparison is None


def test_an_arm_without_predictions_keeps_its_difference(arm):
    rows = [arm("base", 0.4, is_reference=True), arm("silent", 0.6, predicts=False)]
    table = compare_rows(rows)
    means = [metric_spread(row, "eval/top1").mean for row in rows]
    assert table.arms[1].comparison is None
    assert table.arms[1].difference == pytest.approx(means[1] - means[0])
    assert cells(table, "difference") == ("reference", f"{100 * (means[1] - means[0]):+.1f}")
    assert "No test was made" in " ".join(explanation(table))


def test_an_arm_that_was_cut_short_is_not_compared(arm):
    rows = [arm("base", 0.4, is_reference=True), arm("stopped", 0.6, states=("finished", "finished", "stopped"))]
    line = compare_rows(rows).arms[1]
    assert line.comparison is None
    assert math.isnan(line.difference)


def test_predictions_of_another_metric_are_left_out(arm):
    rows = [arm("base", 0.4, is_reference=True), arm("other", 0.6)]
    assert compare_rows(rows).arms[1].comparison is not None
    best = compare_rows(rows, metric="best/top1")
    assert best.arms[1].comparison is None
    assert best.mismatched == ("base", "other")
    assert any("base, other" in sentence for sentence in explanation(best))


@pytest.mark.parametrize("metric", ["eval/share_sure", "best/share_sure", "eval/loss"])
def test_a_metric_that_counts_no_videos_is_not_tested(arm, metric):
    """Of a plug-in, or a loss: the predictions are not to blame, even where the numbers happen to be equal."""
    rows = [arm("base", 0.4, is_reference=True), arm("other", 0.6)]
    runs = [
        tuple(replace(run, metrics={**run.metrics, metric: run.metrics["eval/top1"]}) for run in row.runs)
        for row in rows
    ]
    table = compare_rows([replace(row, runs=some) for row, some in zip(rows, runs, strict=True)], metric=metric)
    assert table.mismatched == ()
    assert table.arms[1].comparison is None
    assert table.arms[1].difference > 0
    notes = " ".join(explanation(table))
    assert "is no share of right answers, which the exact McNemar test needs" in notes
    assert "add up" not in notes


def test_an_arm_of_several_tables_is_one_arm(table_9_rows):
    assert len(table_9_rows) == 13
    arms = distinct_arms(table_9_rows)
    assert len(arms) == 9
    assert [row.label for row in arms if row.is_reference] == ["12 x 320"]
    assert len(compare_rows(table_9_rows).arms) == 13


# ---- what is printed


def test_only_fields_that_vary_are_shown(grid):
    assert varying_fields(grid) == ["layers", "dim", "fusion"]
    keys = [each.key for each in columns(compare_rows(grid))]
    assert "swept/layers" in keys
    assert "swept/learning_rate" not in keys
    assert varying_fields([replace(grid[0], swept={"a": True}), replace(grid[1], swept={"a": 1})]) == ["a"]


def test_planned_memory_is_called_planned_until_all_arms_are_measured(arm):
    planned, measured = arm("a", 0.4, memory=2.0), arm("b", 0.5, memory=2.0, metrics={"memory/peak_gib": 3.0})
    for rows, unit, shown in (
        ([planned, planned], "GiB, planned", "2.00"),
        ([measured, measured], "GiB, measured", "3.00"),
        ([planned, measured], "GiB, planned", "2.00"),
    ):
        column = next(each for each in columns(compare_rows(rows)) if each.key == "memory")
        assert (column.unit, set(column.cells)) == (unit, {shown})
    assert "planned" in " ".join(explanation(compare_rows([planned])))


def test_percent_is_for_fractions(arm):
    row = arm("a", 0.5, seeds=(0,))
    top1 = row.runs[0].metrics["eval/top1"]
    assert cells(compare_rows([row]), "value") == (f"{100 * top1:.1f}",)
    assert cells(compare_rows([row], metric="eval/loss"), "value") == (f"{3 * (1 - top1):.4g}",)
    names = {"eval/top1": "top-1", "best/top5": "top-5 of the best epoch", "eval/recall_at_10": "recall@10"}
    assert {metric: metric_title(metric) for metric in names} == names


def test_markdown_shows_labels_as_they_are(arm):
    markdown = as_markdown(compare_rows([arm("a|b *c* <script> `x` [y](z)\nnext _i_ kept_tokens", 0.5)]))
    assert r"a\|b \*c\* \<script> \`x\` [y]\(z) next \_i\_ kept_tokens" in markdown
    assert len(markdown.splitlines()) == 3


def test_csv_reads_back_bit_by_bit(arm):
    rows = [
        arm('comma, "quote"\nline', 0.4, is_reference=True, swept={"lr": 0.1 + 0.2, "on": True, "at": [1, 5]}),
        arm(
            "other",
            0.57,
            seeds=(0, 1, 3, 4, 5, 6, 7),
            swept={"lr": 4e-5, "on": None, "at": "top"},
            paper={"top1": 0.585},
        ),
    ]
    table = compare_rows(rows)
    records = read_csv(table)
    assert [record["label"] for record in records] == [row.label for row in rows]
    assert [(record["swept/on"], record["swept/at"]) for record in records] == [("true", "[1, 5]"), ("null", "top")]
    assert float(records[0]["swept/lr"]) == 0.1 + 0.2
    line, record = table.arms[1], records[1]
    assert float(record["eval/top1"]) == line.value.mean
    assert float(record["eval/top1/deviation"]) == line.value.deviation
    assert float(record["difference/low"]) == line.comparison.low
    assert float(record["p_adjusted"]) == line.comparison.p_adjusted
    assert float(record["paper/top1"]) == 0.585
    assert record["memory/peak_gib"] == records[0]["p_mcnemar"] == records[0]["paper/top1"] == ""
    # What is printed would not read back.
    assert float(cells(table, "value")[1].split()[0]) / 100 != line.value.mean


def terminal_lines(rows, width=120):
    console = Console(width=400, file=io.StringIO(), color_system=None)
    console.print(as_rich(compare_rows(rows), width=width))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_table_fits(table_9_rows, grid, arm, width):
    crowded = [
        arm(
            f"a long name of an arm that says it all {i}", 0.5, swept={f"field_{k}": f"value {i + k}" for k in range(9)}
        )
        for i in range(3)
    ]
    for rows in (table_9_rows, grid, crowded):
        lines = terminal_lines(rows, width)
        assert max(len(line) for line in lines) <= width
        assert any("top-1" in line for line in lines)
        assert sum("finished" in line for line in lines) >= 1
    assert max(len(line) for line in as_markdown(compare_rows(crowded)).splitlines()) > width


def test_what_is_the_same_everywhere_is_said_once(grid, arm):
    text = "\n".join(terminal_lines(grid))
    assert text.count("finished") == 1
    assert "seeds 1" in text
    assert "finished" in "\n".join(terminal_lines([arm("alone", 0.5)])[1:3])


def test_the_time_of_a_step_alone_is_a_column_and_a_field_under_the_metric_that_runs_log(arm):
    table = compare_rows([arm("a", 0.5), arm("b", 0.6)], metric="eval/top1")
    (column,) = [each for each in columns(table) if each.key == "alone"]
    assert (column.unit, column.cells) == ("ms", ("50.0", "50.0"))
    seconds = [float(row["time/alone_step_s"]) for row in csv.DictReader(io.StringIO(as_csv(table)))]
    assert seconds == pytest.approx([0.05, 0.05])

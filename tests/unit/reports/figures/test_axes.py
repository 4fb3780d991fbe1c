"""What all figures promise: each axis has a name, an axis of shares ends at 100, and the runs are named."""

import io
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from side4video.apps.data_check.charts import count_chart, histogram_chart
from side4video.apps.data_check.report import spread
from side4video.reports.figures.confusion import confusion_figure, confusion_of
from side4video.reports.figures.curves import Curve, arm_curves_figure
from side4video.reports.figures.data_efficiency import EfficiencyLine, SharePoint, data_efficiency_figure
from side4video.reports.figures.figure import ReportFigure, figure_html, write_figure
from side4video.reports.figures.per_class import class_differences, per_class_figure
from side4video.reports.figures.predictions import Prediction, Predictions
from side4video.reports.figures.source import source_of
from side4video.reports.figures.step_time import recorded_budget, step_time_figure
from side4video.reports.figures.style import INK, figure_bytes, new_figure
from side4video.reports.figures.sweep import pareto_figure
from side4video.tracking.run_store import StoredRun

RIGHT = Predictions((Prediction(0, "a", "a"), Prediction(1, "b", "b")), ("a", "b"))
MIXED = Predictions((Prediction(0, "a", "b"), Prediction(1, "b", "b")), ("a", "b"))
PERFECT = {"an arm": {"eval/top1": Curve((1.0, 2.0), (0.9, 1.0)), "eval/loss": Curve((1.0, 2.0), (1.0, 0.1))}}
LINES = [EfficiencyLine("a line", (SharePoint(0.1, (0.9, 0.95)), SharePoint(1.0, (1.0, 1.0))))]
TIMES = {"time/mean_step_s": 0.5, "time/mean_backbone_s": 0.125, "time/mean_clips_per_s": 16.0}


def all_figures(arm):
    arms = [arm("good", 0.999, is_reference=True), arm("better", 1.0)]
    step = recorded_budget("a run", TIMES, {"peak_memory_parts_gib": {"tower": 1.0}})
    histogram = spread({"train": [1, 2, 7], "test": [1]}, "frames")
    return {
        "confusion": confusion_figure(confusion_of(MIXED), run="a run").figure,
        "curves": arm_curves_figure(PERFECT, "eval/top1").figure,
        "data-efficiency": data_efficiency_figure(LINES).figure,
        "per-class": per_class_figure(class_differences("a run", RIGHT)).figure,
        "gains": per_class_figure(class_differences("a run", RIGHT, "other", MIXED)).figure,
        "pareto": pareto_figure(arms).figure,
        "step-time": step_time_figure([step]).figure,
        "classes": count_chart({"a": {"train": 1, "test": 2}}, x="class", y="records"),
        "lengths": histogram_chart(histogram, x="length, frames"),
    }


def unnamed_axes(figure):
    return [axes for axes in figure.axes if not (axes.get_xlabel() and axes.get_ylabel())]


def test_each_axis_of_each_figure_has_a_name(arm):
    for name, figure in all_figures(arm).items():
        assert figure.axes, name
        assert not unnamed_axes(figure), name


def test_twin_without_a_name_is_noticed(arm):
    figure = all_figures(arm)["pareto"]
    figure.axes[0].set_ylabel("")
    assert unnamed_axes(figure)


def ends_of_shares(figure):
    """The upper ends of the axes in percent or points."""
    ends = []
    for axes in figure.axes:
        for name, limits in ((axes.get_xlabel(), axes.get_xlim()), (axes.get_ylabel(), axes.get_ylim())):
            if re.search(r"%|\bpoints\b", name) and "row" not in name:
                ends.append(limits[1])
    return ends


def test_an_axis_of_shares_ends_at_100(arm):
    figures = all_figures(arm)
    for name in ("curves", "data-efficiency", "per-class", "gains", "pareto"):
        ends = ends_of_shares(figures[name])
        assert ends, name
        assert max(ends) == 100, name


def test_twin_with_a_margin_goes_beyond_100(arm):
    figure = all_figures(arm)["pareto"]
    figure.axes[0].autoscale(axis="y")
    assert max(ends_of_shares(figure)) > 100


def test_small_memory_is_in_mib(arm):
    small = [arm("a", 0.5, memory=0.01), arm("b", 0.4, memory=0.02)]
    assert pareto_figure(small).figure.axes[0].get_xlabel() == "planned peak memory, MiB"
    large = [arm("a", 0.5, memory=0.01), arm("b", 0.4, memory=2.0)]
    assert pareto_figure(large).figure.axes[0].get_xlabel() == "planned peak memory, GiB"


def test_the_confusion_matrix_is_called_that():
    assert confusion_figure(confusion_of(MIXED), run="a run").heading == "Confusion matrix"


# ---- the runs of a figure


def run(name="mine", **changes):
    made = StoredRun(
        run_id=f"{name:0<32}",
        name=name,
        status="FINISHED",
        params={"data.dataset.kind": "motion"},
        metrics={"eval/videos": 240.0},
        tags={},
        artifact_uri="",
        experiment_id="1",
        start_ms=1_760_000_000_000,
        end_ms=1_760_000_060_000,
    )
    return replace(made, **changes)


def test_a_figure_names_run_data_videos_and_date():
    assert source_of([run()]) == "Source: mine (mine0000) · data motion · 240 test videos · 2025-10-09."
    assert "12 test videos" in source_of([run()], videos=12)
    later = run("other", end_ms=1_770_000_000_000, metrics={"eval/videos": 1000.0})
    two = source_of([run(), later])
    assert "mine (mine0000), other (other000)" in two
    assert "1,000 test videos" in two
    assert "2025-10-09 to 2026-02-02" in two
    assert "and 7 other runs" in source_of([run(f"run{number}") for number in range(10)])
    assert source_of([run()] * 9, name="sweep s, 9 arms").startswith("Source: sweep s, 9 arms · data motion")
    assert source_of([]) == ""


@pytest.mark.parametrize("form", ["svg", "pdf", "png"])
def test_the_source_stands_below_the_figure_in_every_form(form, tmp_path):
    figure = new_figure(3, 2)
    figure.text(0.5, 0.5, "drawn", color=INK)
    without = ReportFigure("toy", "A toy", "It is a toy.", figure)
    named = replace(without, source="Source: a run · 2026-01-01.")
    files = [
        (tmp_path / name / f"toy.{form}", each) for name, each in (("one", without), ("two", named), ("three", named))
    ]
    for path, each in files:
        write_figure(path.parent, each)
    first, second, third = (path.read_bytes() for path, _ in files)
    assert first != second
    assert second == third  # the same bytes each time: nothing stays in the figure
    assert len(figure.texts) == 1
    assert "It is a toy. Source: a run" in figure_html(named)


def test_the_source_moves_nothing_in_a_figure(arm):
    """The same pixels above it, so neither axes nor legend moved."""
    figure = all_figures(arm)["pareto"]
    plain, below = (picture_of(figure, below) for below in ("", "Source: a run."))
    assert below.shape[0] > plain.shape[0]
    assert abs(below[: len(plain)] - plain).mean() < 1e-3
    moved = abs(np.roll(plain, 3, axis=0) - plain).mean()  # the twin, which moved by three pixels
    assert moved > 1e-3
    assert (below[len(plain) :] < 0.9).any()


def picture_of(figure, below):
    return matplotlib.image.imread(io.BytesIO(figure_bytes(figure, "png", below=below)))


def test_a_box_that_scrolls_shows_its_shadow_through_the_figure(arm):
    figure = ReportFigure("pareto", "A", "B", all_figures(arm)["pareto"])
    assert 'style="fill: var(--paper)"' not in figure_html(figure)
    assert 'style="fill: #ffffff"' in figure_html(replace(figure, uses_page_colors=False))

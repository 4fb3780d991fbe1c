"""The page of a data check: counts, problems, charts, and a contact sheet of the decoded clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from side4video.apps.data_check.findings import KINDS
from side4video.apps.data_check.report import DataReport
from side4video.core.units import format_bytes

if TYPE_CHECKING:
    from side4video.reports.figures.figure import ReportFigure

MAX_PROBLEMS = 200
"""Problems of a kind that are listed; the rest is counted."""
MAX_THUMBNAILS = 60
"""Clips on the contact sheet."""
_TITLES = {
    "captions": "Captions per video",
    "frames": "Length in frames",
    "seconds": "Length in seconds",
    "bytes": "Size of files",
}

_AXES = {
    "captions": ("captions per video", "videos"),
    "frames": ("length, frames", "decoded clips"),
    "seconds": ("length, seconds", "decoded clips"),
    "bytes": ("size of the file", "files"),
}
"""What the axes of a chart show."""


@dataclass(frozen=True)
class Thumbnail:
    """A clip on the contact sheet."""

    title: str
    """Its path."""
    caption: str
    """Class or first caption, length, pixels."""
    jpeg: bytes


def report_page(report: DataReport, thumbnails: Sequence[Thumbnail]) -> str:
    """The page as HTML."""
    # Matplotlib takes most of a second to load, and `data check` without a page does not need it.
    from side4video.reports.figures.figure import figure_html
    from side4video.reports.render import render

    found = {kind: report.of_kind(kind) for kind in KINDS}
    problems = [(f"{len(each):,} {kind_text(kind)}", KINDS[kind], each) for kind, each in found.items() if each]
    return render(
        "data_check.html.j2",
        title=f"Data of {report.name}",
        report=report,
        verdict=verdict_of(report),
        splits=list(report.splits),
        counts=count_rows(report),
        problems=problems,
        max_problems=MAX_PROBLEMS,
        figures=map(figure_html, report_figures(report)),
        thumbnails=thumbnails,
    )


def verdict_of(report: DataReport) -> str:
    """`clean`, or how many problems there are of each kind."""
    counts = {kind: len(report.of_kind(kind)) for kind in KINDS}
    return ", ".join(f"{count} {kind_text(kind)}" for kind, count in counts.items() if count) or "clean"


def kind_text(kind: str) -> str:
    """A kind of problem in words."""
    return kind.replace("_", " ")


def count_rows(report: DataReport) -> list[tuple[str, list[str]]]:
    """The rows of the table of counts, with a cell for each split."""
    rows = [
        ("records", [f"{report.splits[split].records:,}" for split in report.splits]),
        ("files", [f"{report.splits[split].files:,}" for split in report.splits]),
        ("size", [format_bytes(report.splits[split].bytes) for split in report.splits]),
    ]
    kinds = [kind for kind in KINDS if kind != "refused" and (kind != "without_caption" or report.of_kind(kind))]
    for kind in kinds:
        rows.append((kind_text(kind), [f"{len(report.of_kind(kind, split)):,}" for split in report.splits]))
    return rows


def report_figures(report: DataReport) -> "list[ReportFigure]":
    """Charts of classes, captions, lengths, file sizes and resolutions."""
    from side4video.apps.data_check.charts import count_chart, histogram_chart, value_text
    from side4video.reports.figures.figure import ReportFigure

    figures = []
    if report.classes:
        totals = [sum(counts.values()) for counts in report.classes.values()]
        caption = f"{len(totals)} classes with {min(totals):,} to {max(totals):,} records"
        figures.append(
            ReportFigure(
                "classes", "Records of each class", caption, count_chart(report.classes, x="class", y="records")
            )
        )
    for key, histogram in report.histograms.items():
        x, y = _AXES[key]
        values = (histogram.least, histogram.median, histogram.most)
        caption = "minimum {}, median {}, maximum {}".format(*(value_text(value, histogram.unit) for value in values))
        figures.append(ReportFigure(key, _TITLES[key], caption, histogram_chart(histogram, x=x, y=y)))
    if report.sizes:
        frequent = list(report.sizes.items())[:6]
        caption = ", ".join(f"{size} ({sum(counts.values()):,})" for size, counts in frequent)
        chart = count_chart(report.sizes, x="width x height, pixels", y="decoded clips")
        figures.append(ReportFigure("sizes", "Width x height of the decoded clips", caption, chart))
    records = sum(numbers.records for numbers in report.splits.values())
    source = f"Source: data of {report.name} ({report.dataset}) · {records:,} records."
    return [replace(each, source=source) for each in figures]

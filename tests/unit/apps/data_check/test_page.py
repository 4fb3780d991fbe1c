"""The page holds all of it, needs nothing beside it, and nothing in a data set can break out of it."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from checked_sets import check, data_of, list_rows, write_list
from side4video.apps.data_check.charts import count_chart, histogram_chart
from side4video.apps.data_check.check import make_thumbnails
from side4video.apps.data_check.findings import KINDS, Problem
from side4video.apps.data_check.page import MAX_PROBLEMS, Thumbnail, report_page, verdict_of
from side4video.apps.data_check.report import make_report, spread
from side4video.core.progress import SILENT
from side4video.data.clip import TRAIN_AND_TEST

FOREIGN = re.compile(
    r"""(?:src|href|action)\s*=\s*(?!['"]?(?:data:|#))|url\((?!#)|@import|<script|<link|<iframe""", re.IGNORECASE
)


@pytest.fixture
def report(folder, pool, tmp_path):
    checked, _ = check(data_of(write_list(folder, list_rows())), pool, tmp_path / "kept.json")
    return make_report("small", "list", checked, frames=4)


class Tags(HTMLParser):
    """Every tag that is opened is closed."""

    VOID = frozenset({"meta", "img", "br", "line", "rect"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags_of(page):
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    return parser.seen


def test_the_page_needs_nothing_beside_it(report, folder, pool):
    data = data_of(write_list(folder, list_rows()))
    clips = data.dataset.clips("train")
    jpegs = make_thumbnails(clips, data, pool=pool, progress=SILENT)
    assert [Image.open(io.BytesIO(jpeg)).size for jpeg in jpegs.values()] == [(3 * 48, 32)] * 4
    page = report_page(report, [Thumbnail("a.mp4", "waving", jpeg) for jpeg in jpegs.values()])
    assert FOREIGN.findall(page) == []
    tags = tags_of(page)
    assert tags.count("img") == 4
    assert tags.count("svg") == 5
    assert "prefers-color-scheme: dark" in page
    assert report.fingerprint in page
    assert "clean" in page


@pytest.mark.parametrize("foreign", ["<img src='http://a/b.png'>", "<link href=x>", "<script>", "url(x)"])
def test_what_lies_elsewhere_would_be_noticed(foreign):
    assert FOREIGN.findall(foreign)


def test_problems_stand_in_the_page_and_are_only_text(report):
    sly = "<script>alert(1)</script>'\""
    problems = [Problem(kind, "train", f"/clips/{sly}", "list.csv:3", f"bad {kind}") for kind in KINDS]
    broken = replace(report, problems=problems, name=sly, classes={sly: {"train": 1, "test": 0}})
    page = report_page(broken, [Thumbnail(sly, sly, b"jpeg")])
    assert "script" not in tags_of(page)
    for kind in KINDS:
        assert f"bad {kind}" in page
    assert verdict_of(broken) == ("1 missing, 1 broken, 1 too short, 1 duplicated, 1 without caption, 1 refused")
    assert verdict_of(report) == "clean"


def test_a_long_list_of_problems_is_cut(report):
    problems = [Problem("missing", "train", f"clip{n}.mp4", "", "gone") for n in range(MAX_PROBLEMS + 50)]
    page = report_page(replace(report, problems=problems), [])
    assert page.count("gone") == MAX_PROBLEMS
    assert "and 50 more" in page


def heights(chart):
    """Of the bars of each split."""
    return {
        split: [bar.get_height() for bar in bars]
        for split, bars in zip(TRAIN_AND_TEST, chart.axes[0].containers, strict=True)
    }


def test_bars_are_as_high_as_what_they_count():
    chart = count_chart({"few": {"train": 1, "test": 0}, "many": {"train": 3, "test": 1}}, x="class", y="records")
    assert heights(chart) == {"train": [3, 1], "test": [1, 0]}
    train, test = chart.axes[0].containers
    assert [bar.get_y() for bar in test] == [bar.get_y() + bar.get_height() for bar in train]
    assert [label.get_text() for label in chart.axes[0].get_xticklabels()] == ["many", "few"]


def test_charts_take_the_pages_colours(report):
    page = report_page(report, [])
    for variable in ("--ink", "--line", "--blue", "--orange"):
        assert page.count(f"var({variable})") > 5


@pytest.mark.parametrize(
    ("values", "bars"),
    [([5], 1), ([1, 2, 2, 7], 7), ([0.25], 1), ([1, 1000], 24), ([0, 1000], 24), ([1.5, 2.5, 3], 24), ([10**9] * 3, 1)],
)
def test_every_value_is_in_a_bar(values, bars):
    histogram = spread({"train": values, "test": values[:1]}, "frames")
    assert sum(histogram.counts["train"]) == len(values)
    assert sum(histogram.counts["test"]) == 1
    assert len(histogram.edges) == bars + 1
    assert (histogram.least, histogram.most) == (min(values), max(values))
    assert len(heights(histogram_chart(histogram, x="length, frames"))["train"]) == bars


def test_nothing_has_no_histogram():
    assert spread({"train": [], "test": []}, "frames") is None

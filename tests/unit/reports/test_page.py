"""The report's files: complete, self-contained, the same each time, and safe with any text."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from side4video.reports.columns import columns, split_settings
from side4video.reports.comparison import compare_rows
from side4video.reports.tables import write_report

NAMES = ["comparison.md", "comparison.csv", "comparison.html", "parallel-coordinates.png", "pareto.png"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The tags, the visible words and where the page points to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.points_to = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.points_to += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def report(table_9_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "reports"
    return write_report(folder, table_9_rows, title="Table 9, b-f", notes=["One backbone, one stream."])


def test_all_files_are_written(report):
    assert [path.name for path in report] == NAMES
    assert all(path.stat().st_size > 100 for path in report)


def test_the_page_stands_alone_and_says_what_the_test_is(report):
    page = Page(report[2].read_text(encoding="utf-8"))
    assert page.open == []
    assert page.tags.count("svg") == page.tags.count("figure") == 2
    assert page.points_to == []
    assert not {"script", "link", "iframe"} & set(page.tags)
    for words in (
        "exact two-sided McNemar test on paired predictions",
        "Holm-corrected",
        "bootstrap interval over videos",
    ):
        assert words in page.words
    assert "One backbone, one stream." in page.words
    assert page.tags.count("tbody") == 2 * 5  # results, and settings
    assert page.words.count("12 x 320") >= 5


def hostile(arm):
    return [
        arm("<script>alert(1)</script>", 0.5, table="<b>", swept={"<i>": "'><img src=x>"}, is_reference=True),
        arm('" onmouseover="x', 0.4, table="<b>", swept={"<i>": "&amp;"}),
    ]


def escapes(html, texts):
    page = Page(html)
    return (
        not {"script", "b", "i"} & set(page.tags)
        and "img" not in page.tags
        and page.tags.count("svg") == 2
        and all(t in page.words for t in texts)
    )


def test_text_is_never_markup(arm, tmp_path):
    title = "<script>t</script>"
    paths = write_report(tmp_path, hostile(arm), title=title, notes=["</body><script>n</script>"])
    html = paths[2].read_text(encoding="utf-8")
    shown = [
        title,
        "<script>alert(1)</script>",
        "'><img src=x>",
        "&amp;",
        '" onmouseover="x',
        "</body><script>n</script>",
    ]
    assert escapes(html, shown)
    assert not re.search(r"(?<!\\)<script", paths[0].read_text(encoding="utf-8"))
    twin = html.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>")
    assert not escapes(twin, shown)


def test_the_same_arms_give_the_same_bytes(arm, tmp_path):
    rows = [arm("a", 0.4, swept={"x": 1}, is_reference=True), arm("b", 0.5, swept={"x": 2}, memory=2.0)]
    one, again, other = (
        write_report(tmp_path / name, arms, title="x") for name, arms in (("1", rows), ("2", rows), ("3", rows[::-1]))
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in again]
    assert one[1].read_bytes() != other[1].read_bytes()


def test_a_report_of_nothing_is_written(tmp_path):
    paths = write_report(tmp_path, [], title="nothing yet")
    assert "No arms." in paths[0].read_text(encoding="utf-8")
    assert Page(paths[2].read_text(encoding="utf-8")).open == []


def loaded_by(statement):
    """Which of the slow libraries a fresh interpreter has after this."""
    slow = ["numpy", "scipy", "matplotlib", "torch", "mlflow", "ray"]
    code = f"import sys; sys.path.insert(0, 'platform'); {statement}\nprint(*[n for n in {slow} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_room_loads_nothing_slow():
    assert loaded_by("import side4video.reports.tables") == []
    assert "matplotlib" in loaded_by("import side4video.reports.figures.figure")


def test_a_wide_table_is_split_into_results_and_settings(arm):
    """All columns stay, and each table names its arms; a narrow one is whole."""
    swept = {f"a long name of field {number}": f"value {number}" for number in range(9)}
    shown = columns(compare_rows([arm("a", 0.5, swept=swept), arm("b", 0.4, swept=dict.fromkeys(swept, "x"))]))
    results, settings = split_settings(shown)
    assert {each.key for each in (*results, *settings)} == {each.key for each in shown}
    assert "arm" in {each.key for each in results} & {each.key for each in settings}
    assert len({each.key for each in settings}) == 1 + len(swept)
    narrow = columns(compare_rows([arm("a", 0.5, swept={"dim": 1}), arm("b", 0.4, swept={"dim": 2})]))
    assert split_settings(narrow) == [narrow]


def test_the_accuracy_of_the_best_epoch_says_what_it_is(arm):
    rows = [arm("a", 0.5, metrics={"best/top1": 0.6}), arm("b", 0.4, metrics={"best/top1": 0.5})]
    (best,) = [each for each in columns(compare_rows(rows)) if each.key == "best"]
    assert best.title == "best epoch (top-1, %)"

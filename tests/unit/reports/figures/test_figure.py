"""A figure's files and its place in a page: whole, alike each time, and naming nothing outside themselves."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import pytest
from matplotlib.patheffects import withStroke

from side4video.reports.figures.figure import ReportFigure, figure_html, svg_of, write_figure
from side4video.reports.figures.style import BLUE, INK, PAPER, label_axes, new_figure, style_axes

NAMESPACES = re.compile(r'xmlns(:\w+)?="http://www\.w3\.org/[\w/]+"')


def report_figure(name="toy", **others):
    figure = new_figure(4, 3)
    axes = style_axes(figure.add_subplot())
    axes.plot([1, 2, 3], [3, 1, 2], "o-", color=BLUE, clip_on=True)
    axes.text(2, 2, "<script>&", color=INK, path_effects=[withStroke(linewidth=2, foreground=PAPER)])
    axes.imshow([[0, 1]], extent=(1, 2, 1, 2))
    label_axes(axes, x="epochs", y="top-1, %")
    return ReportFigure(name, "A <b>toy</b>", 'It says "a" & b.', figure, **others)


def outside(text):
    """Addresses and documents that a text points to outside itself."""
    text = NAMESPACES.sub("", text)
    found = re.findall(r'(?:href|src)\s*=\s*["\'](?!#|data:)[^"\']*|url\((?!["\']?(?:#|data:))[^)]*', text)
    return [*found, *re.findall(r"\w+://[^\s\"'<]+|<!DOCTYPE[^>]*dtd|@import[^;]*", text)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return {file.suffix: file for file in write_figure(tmp_path_factory.mktemp("a") / "new", report_figure())}


def test_three_formats_are_written_and_valid(files):
    assert set(files) == {".svg", ".pdf", ".png"}
    root = ElementTree.fromstring(files[".svg"].read_text())  # noqa: S314 - written a moment ago
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox") == "0 0 288 216"
    pdf = files[".pdf"].read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"/Type3" not in pdf.replace(b" ", b"")
    assert matplotlib.image.imread(files[".png"]).shape[:2] == (450, 600)


def test_a_font_that_publishers_refuse_is_noticed(tmp_path):
    figure = report_figure().figure
    figure.savefig(tmp_path / "twin.pdf")  # matplotlib's own choice
    assert b"/Type3" in (tmp_path / "twin.pdf").read_bytes().replace(b" ", b"")


def test_the_svg_names_nothing_outside_itself(files):
    assert outside(files[".svg"].read_text()) == []
    assert "<text" not in files[".svg"].read_text()  # letters are paths: no font of the reader's is asked for


def test_an_address_in_an_svg_is_noticed(tmp_path):
    report_figure().figure.savefig(tmp_path / "twin.svg")
    assert outside((tmp_path / "twin.svg").read_text())
    for twin in ('<image href="https://example.org/a.png"/>', "<p style='background:url(a.png)'>", "@import 'a.css';"):
        assert outside(twin)


def test_the_same_figure_gives_the_same_bytes(files, tmp_path):
    again = {file.suffix: file.read_bytes() for file in write_figure(tmp_path, report_figure())}
    assert again == {suffix: file.read_bytes() for suffix, file in files.items()}


# ---- in a page


def ids(html):
    return re.findall(r'\bid="([^"]+)"', html)


def dangling(html):
    """References to ids that are not there."""
    return set(re.findall(r'(?:href="|url\()#([^")]+)', html)) - set(ids(html))


def test_two_figures_of_a_page_share_no_id_and_every_reference_is_met():
    one, other = figure_html(report_figure("one")), figure_html(report_figure("other"))
    assert dangling(one) == dangling(other) == set()
    assert dangling(one.replace('id="one-', 'id="two-'))
    assert set(ids(one)) & set(ids(other)) == set()
    raw = [svg_of(report_figure(name)) for name in ("one", "other")]
    assert set(ids(raw[0])) & set(ids(raw[1]))  # as matplotlib names them


def test_a_figures_styles_stay_its_own():
    all_experiments = re.compile(r"(?<!#one )\*\{")
    assert not all_experiments.search(figure_html(report_figure("one")))
    assert "#one *{stroke-linejoin" in figure_html(report_figure("one"))
    assert all_experiments.search(svg_of(report_figure("one")))  # as matplotlib writes it: of all of a page


def test_ink_and_paper_are_the_pages_where_a_figure_follows_it():
    follows, stays = figure_html(report_figure()), figure_html(report_figure(uses_page_colors=False))
    for variable in ("--ink", "--paper", "--line", "--blue"):
        assert f"var({variable})" in follows
        assert f"var({variable})" not in stays
    for colour in (INK, PAPER, BLUE.lower()):
        assert colour not in follows
        assert colour in stays
    assert "<figure class='paper'>" in stays


def test_words_are_never_markup():
    html = figure_html(report_figure())
    assert "<b>" not in html
    assert "<script" not in html
    assert "A &lt;b&gt;toy&lt;/b&gt;" in html
    assert 'aria-label="A &lt;b&gt;toy&lt;/b&gt;: It says &quot;a&quot; &amp; b."' in html


def test_a_narrow_figure_is_not_blown_up():
    assert "max-width: 31rem; min-width: 19rem" in figure_html(report_figure())

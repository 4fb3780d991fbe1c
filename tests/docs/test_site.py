"""The built site: no warning, no link that leads nowhere, nothing fetched from elsewhere, and whole in a browser."""

import re
import shutil
from pathlib import Path

import pytest

from browsers import BROWSER, needs_a_browser
from doc_site import broken_links, build_site, fetched_from_elsewhere, read_site, visit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CONF = 'extensions = ["myst_parser"]\nhtml_theme = "furo"\nmyst_heading_anchors = 3\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build_site(ROOT / "docs", folder) == ""
    return folder


def test_every_page_is_there(site):
    pages = set(read_site(site))
    for source in (ROOT / "docs").rglob("*.md"):
        assert source.relative_to(ROOT / "docs").with_suffix(".html").as_posix() in pages


def test_every_link_leads_somewhere(site):
    assert broken_links(site) == []


def test_nothing_is_fetched_from_elsewhere(site):
    assert fetched_from_elsewhere(site) == []


def test_a_page_that_nobody_links_to_is_noticed(tmp_path):
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text("# A\n")
    (tmp_path / "lost.md").write_text("# B\n")
    assert "lost.md" in build_site(tmp_path, tmp_path / "built")


def test_a_link_that_leads_nowhere_is_noticed(site, tmp_path):
    copy = shutil.copytree(site, tmp_path / "copy")
    page = copy / "quickstart.html"
    page.write_text(
        page.read_text() + '<a href="nowhere.html">a</a><a href="concepts.html#nothing">b</a><a href="#c">c</a>'
    )
    (copy / "_static" / "side4video.css").write_text("a { background: url(https://example.org/a.png) }\n")
    assert broken_links(copy) == [
        "quickstart.html: nowhere.html: no such file",
        "quickstart.html: concepts.html#nothing: no such anchor",
        "quickstart.html: #c: no such anchor",
    ]
    page.write_text(page.read_text() + '<script src="https://example.org/a.js"></script>')
    assert fetched_from_elsewhere(copy) == [
        "quickstart.html: https://example.org/a.js",
        "side4video.css: https://example.org/a.png",
    ]


PAGES = ("index", "concepts", "reference/method", "reference/commands", "reproduction")


@needs_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_pages_without_a_network(site, scheme):
    for seen in visit(site, PAGES, browser=BROWSER, scheme=scheme, width=390):
        assert seen.errors == []
        assert seen.requests_elsewhere == []
        assert seen.scrolled_width <= 390, f"{seen.name} is wider than a phone"
        assert seen.contrast >= 4.5, f"{seen.name}: text on its background, {scheme}"


@needs_a_browser
def test_the_search_finds_a_field_and_its_address(site):
    (seen,) = visit(site, ["search.html?q=stem_norm"], browser=BROWSER, waits_for="#search-results li a")
    assert any("field-method.side4video.stem_norm" in address for address in seen.found)


@needs_a_browser
def test_a_page_that_fails_in_a_browser_is_noticed(site, tmp_path):
    copy = shutil.copytree(site, tmp_path / "copy")
    page = copy / "concepts.html"
    faults = (
        "<script>throw new Error('planted')</script><img src='http://192.0.2.1/a.png'>"
        "<div style='width: 2000px'>wide</div>"
    )
    page.write_text(re.sub("</body>", faults + "</body>", page.read_text()))
    (seen,) = visit(copy, ["concepts"], browser=BROWSER, width=390)
    assert any("planted" in error for error in seen.errors)
    assert seen.requests_elsewhere == ["http://192.0.2.1/a.png"]
    assert seen.scrolled_width > 390

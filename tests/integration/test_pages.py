"""Pages of reports in a browser: nothing is asked of a network, nothing complains, and all of it can be seen."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import sweeps
from browsers import BROWSER, MISSING
from side4video.cli.figure import figure
from side4video.cli.report import report

SCREENS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
GRID = {"data.train_fraction": [0.5, 1.0], "method.layers": [1, 2]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def own_home(tmp_path_factory):
    """Results of other tests are not taken over, and others take none from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def finished():
    """A sweep of four arms on two passes: two shares of the data, two depths."""
    _, outcome = sweeps.run(sweeps.make_sweep("drawn", grid=GRID))
    assert outcome.is_complete
    return outcome


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """The page of the sweep's report."""
    folder = tmp_path_factory.mktemp("report")
    result = CliRunner().invoke(report, ["sweep", "drawn", "--out", str(folder)])
    assert result.exit_code == 0, (result.output, result.exception)
    return folder / "comparison.html"


# ---- without a browser


def test_the_page_has_every_figure_that_the_runs_hold(page):
    text = page.read_text()
    names = re.findall(r'<svg id="([\w-]+)" role="img"', text)
    expected = ["parallel-coordinates", "pareto", "curves", "data-efficiency", "confusion", "step-time"]
    assert [name for name in names if name != "per-class"] == expected
    assert len(text) < 2_000_000
    without = page.parent / "without"
    result = CliRunner().invoke(report, ["sweep", "drawn", "--out", str(without), "--no-figures"])
    assert result.exit_code == 0, result.output
    assert re.findall(r'<svg id="([\w-]+)"', (without / "comparison.html").read_text()) == expected[:2]


def test_the_sweeps_own_command_leaves_the_same_page(finished, tmp_path):
    from side4video.cli.sweep import sweep

    file = sweeps.as_yaml(tmp_path / "drawn.yaml", sweeps.document("drawn", grid=GRID))
    result = CliRunner().invoke(sweep, [str(file), "--local", "--report", str(tmp_path / "own")])
    assert result.exit_code == 0, (result.output, result.exception)
    assert '<svg id="curves" role="img"' in (tmp_path / "own" / "comparison.html").read_text()


@pytest.mark.parametrize("name", ["pareto", "coordinates", "curves", "data-efficiency"])
def test_figures_of_a_sweep(name, finished, tmp_path):
    result = CliRunner().invoke(figure, [name, "drawn", "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    told = json.loads(result.stdout)
    assert sorted(Path(file).suffix for file in told["files"]) == [".pdf", ".png", ".svg"]
    if name == "data-efficiency":
        shares = {line: [point["share"] for point in points] for line, points in told["numbers"].items()}
        assert shares == {"side4video, layers 1": [0.5, 1.0], "side4video, layers 2": [0.5, 1.0]}
    if name == "curves":
        runs = finished.sweep_logger.children().values()
        ends = sorted(curves["eval/top1"]["values"][-1] for curves in told["numbers"].values())
        assert ends == sorted(run.metrics["eval/top1"] for run in runs)


# ---- in a browser


@contextmanager
def opened(file, *, width=1280, scheme="light"):
    """A page in Chromium, with what it asked for and what it complained of."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip(MISSING)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(BROWSER), args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            asked, complaints = [], []
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.goto(file.as_uri(), wait_until="networkidle")
            tab.wait_for_timeout(300)  # what it told may be on its way
            yield tab, [url for url in asked if url != file.as_uri()], complaints
        finally:
            browser.close()


def overflows(tab):
    """Whether the whole page, and not a part of it alone, must be moved sideways."""
    return tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def unseen(tab):
    """Figures of no size, and those whose letters would be too small (fewer than 0.5 pixels for a point)."""
    return tab.evaluate(
        """[...document.querySelectorAll('figure svg')].filter(svg => {
            const box = svg.getBoundingClientRect();
            return box.height < 50 || box.width / svg.viewBox.baseVal.width < 0.5;
        }).map(svg => svg.id)"""
    )


def faint_text(tab):
    """Figures that follow the page and have letters in nearly the colour of its paper."""
    return tab.evaluate(
        """[...document.querySelectorAll('figure:not(.paper) svg')].filter(svg => {
            const light = color => color.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765;
            const paper = light(getComputedStyle(document.body).backgroundColor);
            const named = ['xtick', 'legend'].map(part => `[id*="${part}"] g[style*="fill"]`).join();
            const letters = [...svg.querySelectorAll(named)];
            return letters.some(each => Math.abs(light(getComputedStyle(each).fill) - paper) < 0.3);
        }).map(svg => svg.id)"""
    )


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_page_asks_for_nothing_and_complains_of_nothing(page, width, scheme):
    with opened(page, width=width, scheme=scheme) as (tab, asked, complaints):
        assert asked == []
        assert complaints == []
        assert not overflows(tab)
        assert unseen(tab) == []
        assert faint_text(tab) == []
        assert tab.locator("figure svg").count() >= 6


TWINS = {
    "an image from elsewhere": "<img src='http://127.0.0.1:9/a.png'>",
    "a style sheet beside it": "<link rel='stylesheet' href='beside.css'>",
    "a script that fails": "<script>nobody.knows()</script>",
    "something too wide": "<div style='width: 4000px'>wide</div>",
    "a figure of no size": "<figure><svg id='x' viewBox='0 0 10 10' style='width: 1px'></svg></figure>",
    "black letters": "<figure><svg id='x' viewBox='0 0 10 10' style='width: 100px'><g id='xtick_1'>"
    "<g style='fill: #000000'></g></g></svg></figure>",
}


@pytest.mark.parametrize("twin", TWINS)
def test_a_fault_in_a_page_is_noticed(twin, page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("</body>", f"{TWINS[twin]}</body>"))
    with opened(broken, scheme="dark") as (tab, asked, complaints):
        found = [bool(asked), bool(complaints), overflows(tab), bool(unseen(tab)), bool(faint_text(tab))]
    assert any(found)

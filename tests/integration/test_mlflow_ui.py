"""MLflow's pages in a real browser: a sweep's arms below it, side by side by the project's own links; descriptions.

Screenshots go into the folder that SIDE4VIDEO_SCREENSHOTS names, else into a temporary one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

import sweeps
from browsers import BROWSER, needs_a_browser
from side4video.apps.mlflow_ui.ui import ui
from side4video.cli.sweep import sweep as sweep_command
from side4video.tracking.mlflow.compat import PARENT_TAG
from side4video.tracking.mlflow.links import compare_link, experiment_link, run_link
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import STATE_TAG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(600),
    needs_a_browser,
]

NAME = "seen"
GRID = {"method.layers": [1, 2], "method.dim": [64, 128]}
AXES = ["arm/layers", "arm/dim", "memory/peak_gib", "eval/top1"]
PATIENCE_MS = 30_000
CLOSED_ASSISTANT = (
    "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
)
"""MLflow's own panel would take a third of the page."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A sweep of four arms, as a person makes one; its run and its arms' runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        folder = tmp_path_factory.mktemp("sweep")
        document = sweeps.document(NAME, grid=GRID)
        sweeps.as_yaml(folder / "base.yaml", document["base"])
        file = sweeps.as_yaml(folder / f"{NAME}.yaml", {**document, "base": "base.yaml"})
        words = ["sweep", str(file), "--local"]
        patch.setattr(sys, "argv", ["side4video", *words])
        done = CliRunner().invoke(sweep_command, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        store = MLflowStore().prepare()
        parent = store.find(NAME)
        assert parent.tags[STATE_TAG] == "finished"
        arms = store.runs(f"tags.`{PARENT_TAG}` = '{parent.run_id}'")
        assert len(arms) == 4
        yield store, parent, arms


@pytest.fixture(scope="module")
def opened(recorded):
    """`side4video ui` over that store, and the link that it prints; nothing is left of it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "side4video", "ui", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    family = []
    try:
        link = next(line for line in server.stdout if line.startswith("Runs:")).split()[1]
        family = psutil.Process(server.pid).children(recursive=True)
        yield f"http://127.0.0.1:{port}", link
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
        assert not any(each.is_running() for each in family)


@pytest.fixture(scope="module")
def browser(opened):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(BROWSER), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, opened):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(CLOSED_ASSISTANT)
    # MLflow's pages ask the network for banners; here is none.
    context.route(lambda url: not url.startswith((opened[0], "data:")), lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


@pytest.fixture
def shot(page, tmp_path):
    folder = Path(os.environ.get("SIDE4VIDEO_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: page.screenshot(path=str(folder / f"mlflow-{name}.png"))


def axes(page, kind):
    """The titles of parallel coordinates, from left to right: `label` in charts, `axis-title` in the comparison."""
    found = page.locator(f"svg text.{kind}")
    found.first.wait_for()
    placed = [(each.bounding_box()["x"], each.text_content()) for each in found.all()]
    return [title for _, title in sorted(placed)]


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def names_shown(page):
    """The runs of the table, from top to bottom."""
    links = page.locator("[role=gridcell] a[href*='/runs/']").all()
    return [name for _, name in sorted((each.bounding_box()["y"], each.text_content()) for each in links)]


def test_the_runs_table_folds_the_arms_into_their_sweep(page, shot, opened, recorded):
    _, parent, arms = recorded
    page.goto(opened[1])
    page.get_by_role("link", name=NAME, exact=True).wait_for()
    assert names_shown(page) == [parent.name]
    cell = page.locator("[role=gridcell]", has=page.get_by_role("link", name=NAME, exact=True))
    cell.get_by_role("button").click()
    page.get_by_role("link", name=arms[0].name, exact=True).wait_for()
    shown = names_shown(page)
    assert shown[0] == parent.name
    assert set(shown[1:]) == {arm.name for arm in arms}
    for column in ("method.layers", "eval/top1", "best/top1"):
        assert page.get_by_role("columnheader", name=column).count()
    shot("runs")


def test_the_sweeps_link_shows_its_arms_by_what_varies_memory_and_accuracy(page, shot, opened, recorded):
    told = CliRunner().invoke(ui, ["--sweep", NAME, "--uri", opened[0]], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    page.goto(told.stdout.split()[1])
    page.get_by_text("Parallel Coordinates", exact=True).wait_for()
    shown = axes(page, "label")
    assert sorted(shown[:2]) == sorted(AXES[:2])
    assert shown[2:] == AXES[2:]
    for arm in recorded[2]:
        page.get_by_role("link", name=arm.name, exact=True).wait_for()
    assert page.get_by_text("shared view state").count() == 0
    shot("arms")


def test_twin_without_the_view_shows_no_such_axes(page, opened, recorded):
    """MLflow's own charts fold the arms into their sweep and have nothing to draw: the test above sees the view."""
    page.goto(experiment_link(opened[0], recorded[0].experiment_id, chart=True))
    page.get_by_text(NAME, exact=True).first.wait_for()
    page.wait_for_timeout(3000)
    assert not set(AXES) <= {each.text_content() for each in page.locator("svg text.label").all()}


def choose(page, box, names):
    """Tick these in one of the comparison's lists, which have only what is in sight."""
    page.get_by_role("combobox").nth(box).click(force=True)
    options = page.locator(".rc-virtual-list-holder:visible")
    options.wait_for()
    for name in names:
        options.hover()
        page.mouse.wheel(0, -100_000)
        option = options.locator(f"[title='{name}']")
        for _ in range(60):
            page.wait_for_timeout(150)
            if option.count():
                break
            page.mouse.wheel(0, 200)
        option.click()
    page.keyboard.press("Escape")
    options.wait_for(state="hidden")


def test_the_comparison_has_parallel_coordinates(page, shot, opened, recorded):
    store, _, arms = recorded
    page.goto(compare_link(opened[0], [arm.run_id for arm in arms], store.experiment_id, AXES[2:]))
    # What MLflow shows at first: three parameters by the alphabet. The swept ones come first.
    assert {"arm/layers", "arm/dim"} <= set(axes(page, "axis-title"))
    for arm in arms:
        assert page.get_by_text(arm.name, exact=True).count()
    found = {name: arm.metrics[name] for arm in arms for name in AXES[2:]}
    assert found.keys() == set(AXES[2:])
    page.get_by_role("button", name="Clear All").click()
    page.get_by_text("Nothing to compare").wait_for()
    choose(page, 0, AXES[:2])
    choose(page, 1, AXES[2:])
    wait_for(lambda: set(axes(page, "axis-title")) == set(AXES))
    shot("compare")


def test_the_runs_page_shows_its_description(page, shot, opened, recorded):
    store, _, arms = recorded
    page.goto(run_link(opened[0], store.experiment_id, arms[0].run_id))
    headline = f"{100 * arms[0].metrics['eval/top1']:.1f}% top-1"
    page.get_by_text(headline).first.wait_for()
    page.get_by_text("Show more").click()
    page.get_by_role("columnheader", name="predicted").wait_for()
    page.get_by_text(f"side4video evaluate {arms[0].run_id[:8]}").wait_for()
    assert page.get_by_text("# created by side4video sweep").count() == 1
    shot("run")


def test_the_sweeps_page_shows_table_and_figures(page, shot, opened, recorded):
    store, parent, _ = recorded
    page.goto(run_link(opened[0], store.experiment_id, parent.run_id))
    page.get_by_text("Show more").click()
    page.get_by_text("The arms in charts").wait_for()
    figures = page.locator("img[src^='get-artifact']")
    assert figures.count() == 2
    wait_for(lambda: all(each.evaluate("image => image.naturalWidth") == 760 for each in figures.all()))
    assert page.get_by_role("link", name="95% CI").count() == 0
    shot("sweep")


def test_a_finished_run_shows_the_machines_load(page, shot, opened, recorded):
    store, _, arms = recorded
    link = run_link(opened[0], store.experiment_id, arms[0].run_id)
    page.goto(link.replace(f"{arms[0].run_id}?", f"{arms[0].run_id}/system-metrics?"))
    page.get_by_text("cpu_utilization_percentage").first.wait_for()
    page.get_by_text("disk_available_megabytes", exact=True).first.wait_for()
    shot("system")

"""The page that a run leaves: what stands in it, and that it never ends a run."""

import io
import logging
import re

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from side4video.cli.main import cli
from side4video.core.progress import SILENT
from side4video.core.units import format_duration
from side4video.reports.figures.predictions import parse_predictions
from side4video.reports.run_page import PAGE, SHOWN_CLIPS, film_strip, run_page, save_run_page, shown_clips
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.run_store import artifact_text
from tiny import DOCUMENT, tiny
from validation_clips import list_with_validation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    tiny().data.dataset.prepare()
    dataset = list_with_validation(tmp_path_factory.mktemp("page") / "clips")
    spec = tiny(name="paged", data={"dataset": dataset}, optimization={"length": {"epochs": 2}})
    launch({spec.name: spec}, progress=SILENT)
    store = MLflowStore().prepare()
    (run,) = store.runs(name=spec.name)
    return store, run, spec


def test_what_is_in_it(finished):
    store, run, spec = finished
    page = run_page(store, run, spec)
    best = int(run.metrics["best_val/epoch"]) + 1
    assert f"Values on the test split of epoch {best}, the best on the validation split." in page
    assert f"{100 * run.metrics['eval/top1']:.1f}%" in page
    assert '<td class="number">10.0%</td>' in page  # by chance
    assert "top-1 on validation" in page
    assert "Confusion matrix" in page
    assert f"side4video predict {run.run_id[:8]} VIDEO" in page
    assert not re.search(r'(src|href)="https?://', page)


def test_the_clips_are_those_of_the_predictions(finished):
    store, run, spec = finished
    videos = parse_predictions(artifact_text(store, run.run_id, "predictions.csv"))
    right, wrong = shown_clips(spec, videos)
    assert {each.answer.is_right for each in right} <= {True}
    assert {each.answer.is_right for each in wrong} == {False}
    assert len(wrong) == min(SHOWN_CLIPS, sum(not each.is_right for each in videos))
    scores = [each.answer.score for each in wrong]
    assert scores == sorted(scores, reverse=True)
    clips, classes = spec.data.dataset.clips("test"), spec.data.dataset.classes()
    for each in (*right, *wrong):
        clip = clips[each.answer.index]
        assert clip.path.endswith(each.path)
        assert classes[clip.label] == each.answer.label
        with Image.open(io.BytesIO(each.picture)) as picture:
            assert picture.width == 4 * picture.height


def test_a_clip_that_is_gone_has_no_picture(finished, tmp_path, monkeypatch):
    store, run, spec = finished
    videos = parse_predictions(artifact_text(store, run.run_id, "predictions.csv"))
    clips = spec.data.dataset.clips("test")
    wrong = next(each for each in videos if not each.is_right)
    path = clips[wrong.index].path
    content = open(path, "rb").read()  # noqa: PTH123, SIM115
    try:
        open(path, "wb").close()  # noqa: PTH123
        shown = [each.answer.index for some in shown_clips(spec, videos) for each in some]
        assert wrong.index not in shown
        assert shown
    finally:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)


def test_a_page_that_cannot_be_made_is_a_warning(finished, caplog, monkeypatch, tmp_path):
    store, run, spec = finished
    broken = spec.model_copy(
        update={
            "data": spec.data.model_copy(
                update={
                    "dataset": tiny(
                        data={"dataset": {"kind": "list", "annotations": str(tmp_path / "gone.csv")}}
                    ).data.dataset
                }
            )
        }
    )
    with caplog.at_level(logging.WARNING):
        assert save_run_page(store, run.run_id, broken) is None
    assert "the page of run" in caplog.text
    assert "gone.csv" in caplog.text


def test_a_run_leaves_it_and_a_command_writes_it_again(tmp_path):
    document = {
        **DOCUMENT,
        "name": "leaves-a-page",
        "optimization": {**DOCUMENT["optimization"], "length": {"epochs": 1}},
    }
    (tmp_path / "page.yaml").write_text(yaml.safe_dump(document))
    printed = CliRunner().invoke(cli, ["run", str(tmp_path / "page.yaml"), "--local"])
    assert printed.exit_code == 0, printed.output
    file = re.search(r"Its page, for a browser: (.*\.html)", printed.stdout)[1]
    store = MLflowStore().prepare()
    (run,) = store.runs(name="leaves-a-page")
    page = open(file).read()  # noqa: PTH123, SIM115
    assert artifact_text(store, run.run_id, PAGE) == page
    time = re.escape(format_duration((run.end_ms - run.start_ms) / 1000))
    assert re.search(rf"<td>time</td><td>{time}</td>", page)
    assert re.search(rf"leaves-a-page .* {time} +{run.run_id[:8]}", printed.stdout)
    again = CliRunner().invoke(cli, ["report", "run", "leaves-a-page", "--out", str(tmp_path / "report")])
    assert again.exit_code == 0, again.output
    assert len(list((tmp_path / "report").glob("leaves-a-page-*.html"))) == 1


def test_a_strip_of_one_frame():
    import numpy as np

    with Image.open(io.BytesIO(film_strip(np.zeros((1, 3, 8, 8), np.uint8)))) as picture:
        assert picture.size == (112, 112)

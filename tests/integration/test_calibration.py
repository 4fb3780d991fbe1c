"""A run with a validation split has a temperature, uses it on the test split once, and gives it to `predict`."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.inference.trained_model import load
from side4video.reports.run_page import run_page
from side4video.runs.launch import launch
from side4video.tasks.recognition.temperature import scale_scores, scaled_metrics
from side4video.tracking.chosen_weights import MIN_FITTED_CLIPS
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import NOTES_TAG
from tiny import tiny
from validation_clips import list_with_validation

pytestmark = pytest.mark.slow

SCALED = ("eval/temperature", "eval/calibration_error_scaled", "eval/nll_scaled")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tiny().data.dataset.prepare()
    return list_with_validation(tmp_path_factory.mktemp("calibration") / "clips")


def trained(dataset, name, rule="auto"):
    length = {"length": {"epochs": 3}, "learning_rate": 3e-2}
    spec = tiny(name=name, data={"dataset": dataset}, optimization=length, evaluation={"choose_epoch": rule})
    return spec, launch({name: spec}, progress=SILENT)[name]


@pytest.fixture(scope="module")
def finished(dataset):
    return trained(dataset, "calibrated")


@pytest.mark.parametrize("rule", ["auto", "last"])
def test_the_test_split_is_scaled_with_the_temperature_of_the_chosen_weights(rule, dataset, finished, tmp_path):
    _, done = finished if rule == "auto" else trained(dataset, "calibrated-last", rule)
    chosen = "best_val" if rule == "auto" else "val"
    assert done.metrics["eval/temperature"] == done.metrics[f"{chosen}/temperature"]
    store = MLflowStore().prepare()
    with np.load(store.download(done.run_id, "scores.npz", tmp_path)) as stored:
        expected = scaled_metrics(stored["scores"].astype(np.float64), stored["labels"], done.metrics[SCALED[0]])
    for key in SCALED:
        assert done.metrics[key] == pytest.approx(expected[key.removeprefix("eval/")], rel=1e-3, abs=1e-5)
    temperatures = [each.value for each in store.history(done.run_id, "val/temperature")]
    assert len(temperatures) == 3
    assert all(map(math.isfinite, temperatures))
    assert len(store.history(done.run_id, "eval/temperature")) == 1


def test_a_temperature_of_few_clips_is_doubted(finished, dataset):
    """In the record, on the page, and beside calibrated scores."""
    spec, done = finished
    clips = len(spec.data.dataset.clips("val"))
    doubt = f"fitted on {clips} validation clips"
    assert clips < MIN_FITTED_CLIPS
    assert any(doubt in note for note in done.notes)
    assert doubt in MLflowStore().prepare().get(done.run_id).tags[NOTES_TAG]
    assert doubt in load(done.run_id, calibrated=True).calibration_note
    assert load(done.run_id).calibration_note == ""
    video = spec.data.dataset.clips("test")[0].path
    for more, said in ([], False), (["--calibrated"], True):
        assert (doubt in CliRunner().invoke(cli, ["predict", done.run_id, video, *more]).stderr) == said


def test_predictions_are_scaled_when_asked(finished, dataset, tmp_path):
    spec, done = finished
    plain, calibrated = load(done.run_id), load(done.run_id, calibrated=True)
    videos = [clip.path for clip in spec.data.dataset.clips("test")[:3]]
    for before, after in zip(plain.predict(videos), calibrated.predict(videos), strict=True):
        scaled = scale_scores(before.scores[None], done.metrics["eval/temperature"])[0]
        assert after.scores == pytest.approx(scaled, rel=1e-9)
        assert [name for name, _ in after.labels] == [name for name, _ in before.labels]
    command = ["predict", done.run_id, videos[0], "--json"]
    answers = [
        json.loads(CliRunner().invoke(cli, [*command, *more]).stdout)[0]["labels"] for more in ([], ["--calibrated"])
    ]
    assert [name for name, _ in answers[0]] == [name for name, _ in answers[1]]
    assert answers[0] != answers[1]
    exported = CliRunner().invoke(cli, ["export", done.run_id, str(tmp_path / "model")])
    assert exported.exit_code == 0, exported.output
    assert load(tmp_path / "model", calibrated=True).temperature == done.metrics["eval/temperature"]
    assert load(tmp_path / "model").temperature == 1.0


def test_the_page_and_the_figure_show_it(finished, tmp_path):
    spec, done = finished
    store = MLflowStore().prepare()
    page = run_page(store, store.get(done.run_id), spec)
    assert "calibration error scaled" in page
    assert "fitted on the validation split" in page
    drawn = CliRunner().invoke(cli, ["figure", "calibration", done.run_id, "--out", str(tmp_path), "--json"])
    assert drawn.exit_code == 0, drawn.output
    assert json.loads(drawn.stdout)["numbers"]["temperature"] == done.metrics["eval/temperature"]
    assert (tmp_path / "calibration.png").is_file()


def test_without_a_validation_split_there_is_no_temperature(tmp_path):
    spec = tiny(name="uncalibrated", optimization={"length": {"epochs": 1}})
    done = launch({spec.name: spec}, progress=SILENT)[spec.name]
    assert not [key for key in done.metrics if "temperature" in key or "scaled" in key]
    with pytest.raises(InputError, match="no temperature was fitted"):
        load(done.run_id, calibrated=True)

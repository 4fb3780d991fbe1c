"""The reliability diagram: what it says, from the scores that a store keeps."""

import math

import numpy as np
import pytest

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.reports.figures.calibration import Calibration, calibration_figure, read_calibration
from side4video.reports.figures.figure import svg_of
from side4video.tasks.recognition.score_metrics import BINS
from side4video.tracking.chosen_weights import MIN_FITTED_CLIPS
from side4video.tracking.file_store import FileStore

SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
LABELS = np.array([0, 1, 1, 1])


def stored(folder, scores, labels, temperature=None):
    store = FileStore(folder / "records").prepare()
    run = store.start_run(name="run", key="k")
    if scores is not None:
        np.savez(folder / "scores.npz", indices=np.arange(len(labels)), labels=labels, scores=scores)
        store.log_file(run, folder / "scores.npz")
    if temperature is not None:
        store.log(run, [Metric.now("eval/temperature", temperature, 0)])
    return store, store.get(run)


def test_scores_are_read_back_with_the_temperature(tmp_path):
    labels = np.array([0, -1, 1, 1])
    found = read_calibration(*stored(tmp_path, SCORES, labels, 1.5))
    assert (found.scores_NC.tolist(), found.labels_N.tolist()) == (SCORES[[0, 2, 3]].tolist(), [0, 1, 1])
    assert found.temperature == 1.5


@pytest.mark.parametrize("temperature", [None, math.nan])
def test_without_a_temperature_there_is_one_part(tmp_path, temperature):
    found = read_calibration(*stored(tmp_path, SCORES, LABELS, temperature))
    drawn = calibration_figure(found, run="run")
    assert len(drawn.numbers["parts"]) == 1
    assert "Without a validation split" in drawn.caption


@pytest.mark.parametrize(
    ("scores", "labels"),
    [(None, None), (np.full((2, 2), np.nan), np.array([0, 1])), (SCORES, np.full(4, -1)), (SCORES[:0], LABELS[:0])],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, scores, labels):
    with pytest.raises(InputError, match="scores"):
        read_calibration(*stored(tmp_path, scores, labels))


def test_the_figure_has_both_parts_and_their_numbers():
    drawn = calibration_figure(Calibration(SCORES, LABELS, 2.0), run="run")
    before, after = drawn.numbers["parts"]
    assert [sum(row["videos"] for row in part["bins"]) for part in (before, after)] == [4, 4]
    assert len(before["bins"]) == BINS
    highest = max(row["confidence"] for row in before["bins"] if row["videos"])
    assert highest == pytest.approx(0.9)
    assert max(row["confidence"] for row in after["bins"] if row["videos"]) < highest
    assert "4 test videos" in drawn.caption
    assert [part["title"] for part in drawn.numbers["parts"]] == ["scores as they are", "scaled, T = 2"]
    assert svg_of(drawn) == svg_of(calibration_figure(Calibration(SCORES, LABELS, 2.0), run="run"))


@pytest.mark.parametrize(
    ("temperature", "clips", "said"),
    [
        (20.0, None, "the temperature 20 is at the bound of its search (0.05 to 20)"),
        (0.05, 400, "the temperature 0.05, fitted on 400 validation clips, is at the bound of its search"),
        (1.5, 1, "the temperature 1.5, fitted on 1 validation clip, says little: 20 clips or more are needed"),
        (1.5, MIN_FITTED_CLIPS - 1, "says little"),
        (1.5, MIN_FITTED_CLIPS, ""),
        (1.5, None, ""),
        (19.9, 400, ""),
    ],
)
def test_a_doubtful_temperature_is_said_below_the_figure(tmp_path, temperature, clips, said):
    store, run = stored(tmp_path, SCORES, LABELS, temperature)
    if clips is not None:
        store.log(run.run_id, [Metric.now("val/videos", clips, 0)])
    drawn = calibration_figure(read_calibration(store, store.get(run.run_id)), run="run")
    assert said in drawn.caption
    assert ("Note: " in drawn.caption) == bool(said)

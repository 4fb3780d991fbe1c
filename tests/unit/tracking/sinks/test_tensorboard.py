"""TensorBoard's event files, read back with TensorBoard's own reader."""

import math

import pytest

from side4video.core.metric import Metric
from side4video.tracking.sinks import tensorboard
from side4video.tracking.sinks.sink import RunEnd, RunHeader
from side4video.tracking.sinks.tensorboard import TensorBoardSink, run_folder
from sink_files import event_series, event_texts

RUN = "0123456789abcdef0123456789abcdef"
HEADER = RunHeader(RUN, "my run / a", "", {"seed": "3", "method.kind": "linear", "a": "x | y"}, {"gpu": "none"})


def points(*steps, key="eval/top1"):
    return [Metric.now(key, 1 / (step + 3), step) for step in steps]


def written(folder):
    return event_series(run_folder(folder, RUN, HEADER.name))


def test_values_are_read_back_exactly(tmp_path):
    sink = TensorBoardSink(tmp_path)
    sink.open(HEADER, [])
    metrics = [*points(0, 1, 5), Metric("train/loss", math.nan, 2, 1_000), Metric.now("big", 1e300, 0)]
    sink.log(RUN, metrics)
    series = written(tmp_path)  # each write is on disk when `log` returns
    assert series["eval/top1"] == [(0, 1 / 3), (1, 1 / 4), (5, 1 / 8)]
    assert math.isnan(series["train/loss"][0][1])
    assert series["big"] == [(0, 1e300)]


def test_the_folder_has_a_name_to_read_and_the_runs_id(tmp_path):
    TensorBoardSink(tmp_path).open(HEADER, [])
    assert [path.name for path in tmp_path.iterdir()] == ["my-run-a-0123456789ab"]
    assert run_folder(tmp_path, RUN, "renamed").name == "my-run-a-0123456789ab"


def continued(folder):
    """A run that one process wrote, and another one goes on with and repeats the last points."""
    first = TensorBoardSink(folder)
    first.open(HEADER, [])
    first.log(RUN, points(0, 1, 2))
    first.release()
    second = TensorBoardSink(folder)
    second.open(HEADER, points(0, 1, 2, 3))  # the store has one that is not here
    second.log(RUN, points(3, 4))
    second.log(RUN, points(4))
    second.close(RUN, RunEnd("FINISHED", "**66.7%** top-1", {"gpu": "none"}, ["spec.json"]))
    return [step for step, _ in written(folder)["eval/top1"]]


def test_a_continued_run_has_each_point_once(tmp_path):
    assert continued(tmp_path) == [0, 1, 2, 3, 4]


def test_points_that_double_are_noticed(tmp_path, monkeypatch):
    """Of the test above: a broken twin that does not read what is there."""
    monkeypatch.setattr(tensorboard, "_stored", lambda folder: (set(), tensorboard.Counter()))
    assert continued(tmp_path) != [0, 1, 2, 3, 4]


def test_a_torn_file_of_a_killed_process_does_not_stop_the_next_one(tmp_path):
    first = TensorBoardSink(tmp_path)
    first.open(HEADER, points(0, 1))
    first.release()
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    file.write_bytes(file.read_bytes()[:-5])
    second = TensorBoardSink(tmp_path)
    second.open(HEADER, points(0, 1, 2))
    second.release()
    assert [step for step, _ in written(tmp_path)["eval/top1"]] == [0, 1, 2]


def test_texts_are_the_documents_and_the_end_of_a_run(tmp_path):
    continued(tmp_path)
    texts = event_texts(run_folder(tmp_path, RUN, ""))
    assert "| seed | 3 |" in texts["parameters"]
    assert r"| a | x \| y |" in texts["parameters"]
    assert texts["description"] == "**66.7%** top-1"
    assert "| status | FINISHED |" in texts["tags"]
    assert texts["artifacts"] == "- `spec.json`"


def test_parameters_are_on_the_page_of_hyperparameters(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    continued(tmp_path)
    (folder,) = tmp_path.iterdir()
    content = EventAccumulator(str(folder)).Reload().PluginTagToContent("hparams")
    (data,) = content.values()
    found = HParamsPluginData.FromString(data).session_start_info.hparams
    assert (found["seed"].number_value, found["method.kind"].string_value) == (3.0, "linear")


def test_a_folder_that_is_a_file_is_an_error_of_the_sink(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        TensorBoardSink(tmp_path / "taken").open(HEADER, [])

"""Offline W&B runs, read back from their files. Nothing here opens a connection."""

import json

import pytest

from side4video.core.metric import Metric
from side4video.tracking.sinks import wandb as module
from side4video.tracking.sinks.sink import RunEnd, RunHeader
from side4video.tracking.sinks.wandb import WandbSink
from sink_files import wandb_records, wandb_series

RUN = "fedcba9876543210fedcba9876543210"
HEADER = RunHeader(RUN, "my run", "parent", {"seed": "3"}, {"gpu": "none"})
END = RunEnd("FINISHED", "**66.7%** top-1", {"gpu": "none", "state": "finished"}, ["spec.json"])


def points(*steps, key="eval/top1"):
    return [Metric.now(key, 1 / (step + 3), step) for step in steps]


def continued(folder):
    first = WandbSink(folder, project="tests")
    first.open(HEADER, [])
    first.log(RUN, [*points(9), *points(0, 4, 9, key="train/loss")])  # an earlier step may come later
    first.release()
    second = WandbSink(folder, project="tests")
    second.open(HEADER, points(9, 19))
    second.log(RUN, points(19, 29))
    second.close(RUN, END)
    return wandb_series(folder, RUN)


@pytest.mark.slow
def test_a_continued_run_has_each_point_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    assert continued(tmp_path) == {
        "eval/top1": [(9, 1 / 12), (19, 1 / 22), (29, 1 / 32)],
        "train/loss": [(0, 1 / 3), (4, 1 / 7), (9, 1 / 12)],
    }
    records = wandb_records(tmp_path, RUN)
    runs = [record.run for record in records if record.HasField("run")]
    assert {(run.run_id, run.project, run.run_group) for run in runs} == {(RUN, "tests", "parent")}
    config = {item.key: json.loads(item.value_json) for run in runs for item in run.config.update}
    assert config["seed"] == "3"
    summary = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for record in records
        for item in record.summary.update
    }
    assert summary["artifacts"] == ["spec.json"]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if b"0123456789abcdef" in file.read_bytes()]


@pytest.mark.slow
def test_points_that_double_are_noticed(tmp_path, monkeypatch):
    """Of the test above: a broken twin that forgets what it sent."""
    monkeypatch.setattr(module, "_read_points", lambda file: set())
    assert [step for step, _ in continued(tmp_path)["eval/top1"]] == [9, 9, 19, 29]


class FakeRun:
    def __init__(self, resumed):
        self.resumed, self.rows = resumed, []

    def define_metric(self, *_, **__):
        pass

    def log(self, row):
        self.rows.append(row)


class FakeLibrary:
    def __init__(self, run):
        self.run, self.options = run, {}

    def init(self, **options):
        self.options = options
        return self.run

    def Settings(self, **options):  # noqa: N802 - W&B's name
        return options


@pytest.mark.parametrize("resumed", [False, True])
def test_what_another_machine_sent_is_not_sent_again(resumed, tmp_path, monkeypatch):
    run = FakeRun(resumed)
    library = FakeLibrary(run)
    monkeypatch.setattr(module, "_library", lambda mode: library)
    sink = WandbSink(tmp_path, project="tests", entity="team", mode="online")
    sink.open(HEADER, points(0, 1))
    sink.log(RUN, points(1, 2))
    assert [row["step"] for row in run.rows] == ([2] if resumed else [0, 1, 2])
    chosen = {name: library.options[name] for name in ("id", "entity", "mode", "resume")}
    assert chosen == {"id": RUN, "entity": "team", "mode": "online", "resume": "allow"}
    assert library.options["settings"]["console"] == "off"


def test_half_a_line_of_a_killed_process_costs_that_line_alone(tmp_path):
    file = tmp_path / "points"
    module._append_points(file, [("a", 1)])
    with file.open("a") as stream:
        stream.write('["a", 2')
    module._append_points(file, [("a", 3)])
    assert module._read_points(file) == {("a", 1), ("a", 3)}

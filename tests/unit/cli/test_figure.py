"""`side4video figure` over a real store: the numbers that were recorded, three files, and errors with a way out."""

import itertools
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from side4video.cli.figure import figure
from side4video.cli.report import report
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.planning.plan_cache import PlannedPeak
from side4video.reports.figures import memory
from side4video.reports.figures.memory import memory_rows
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.pack_logger import PREDICTED, open_pack_logger
from side4video.tracking.tags import REUSED_TAG, STATE_TAG
from tiny import tiny

NUMBERS = itertools.count()
TEXT = {"kind": "transformer", "width": 32, "layers": 1, "head_width": 8}
CLIP = {"method": {"kind": "zero-shot"}, "task": {"classifier": {"kind": "text"}}, "backbone": {"text": TEXT}}
HEAD = "index,label,prediction,correct,score,label_score\n"
OWN = HEAD + "0,up,up,1,0.9,0.9\n1,up,down,0,0.5,0.4\n2,down,down,1,0.8,0.8\n3,,down,0,0.8,\n"
OTHER = HEAD + "0,up,down,0,0.9,0.1\n1,up,down,0,0.5,0.4\n2,down,down,1,0.8,0.8\n"
PARTS = {"tower": 0.5, "held_for_backward": 1.5}
SERIES = {
    "eval/epoch": {3: 0, 7: 1},
    "eval/top1": {3: 0.75, 7: 0.5},
    "eval/loss": {3: 1.0, 7: 1.5},
    "train/loss": {1: 2.0, 7: 1.0},
}
TIMES = {"time/mean_step_s": 0.5, "time/mean_backbone_s": 0.125, "time/mean_side_s": 0.375, "time/mean_clips_per_s": 16}


def recorded(
    store, name, *, predictions="", state="finished", series=SERIES, times=TIMES, clips="the clips", **document
):
    """The id of a run as a pack logger writes it."""
    spec = tiny(name=name, **document)
    plans = {"run": {**dict.fromkeys(PREDICTED, 1.0), "peak_memory_parts_gib": PARTS}}
    pack_logger = open_pack_logger(
        {"run": spec}, plans=plans, fingerprint=clips, checkpoint_folder=f"/nowhere/{next(NUMBERS)}"
    )
    run = pack_logger.run_ids["run"]
    points = [Metric(key, value, step, 1) for key, values in series.items() for step, value in values.items()]
    store.log(run, [*points, *(Metric(key, value, 7, 1) for key, value in times.items())])
    store.set_tags(run, {STATE_TAG: state})
    if predictions:
        store.log_text(run, predictions, "predictions.csv")
        store.log_text(run, '{"down": 1.0, "up": 0.5}', "class_accuracy.json")
    store.finish(run)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Ids by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = MLflowStore().prepare()
        made = {
            "mine": recorded(store, "mine", predictions=OWN),
            "probe": recorded(store, "probe", predictions=OTHER, method={"kind": "linear"}),
            "other-frames": recorded(store, "other-frames", predictions=OTHER, data={"frames": 2}),
            "silent": recorded(store, "silent", series={}, times={}, state="failed"),
            "pairs": recorded(store, "pairs", predictions=OWN, task={"kind": "retrieval"}, backbone={"text": TEXT}),
            "clip": recorded(store, "clip", predictions=OTHER, **CLIP),
            "elsewhere": recorded(store, "elsewhere", predictions=OWN, clips="other clips"),
            "small": recorded(store, "shares", data={"train_fraction": 0.25}),
            "whole": recorded(store, "shares"),
        }
        made["taken"] = recorded(store, "taken", series={k: {7: v[7]} for k, v in SERIES.items()}, times={})
        store.set_tags(made["taken"], {REUSED_TAG: made["mine"]})
        yield made


def call(*arguments):
    return CliRunner().invoke(figure, [str(each) for each in arguments])


def drawn(folder, *arguments):
    """The JSON of a command; its files are there and valid at a glance."""
    result = call(*arguments, "--out", folder, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    told = json.loads(result.stdout)
    begins = {file.rsplit(".", 1)[1]: open(file, "rb").read(5) for file in told["files"]}  # noqa: SIM115, PTH123
    assert begins == {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG\r"}
    return told


def complaint(folder, *arguments):
    result = call(*arguments, "--out", folder)
    assert isinstance(result.exception, InputError), (result.output, result.exception)
    assert result.exception.exit_code == 2
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_confusion(runs, tmp_path):
    numbers = drawn(tmp_path, "confusion", "mine")["numbers"]
    # In the order of the data set, and without the video that nobody labelled.
    assert numbers["classes"] == ["down", "up"]
    assert numbers["counts"] == [[1, 0], [1, 1]]


def test_per_class(runs, tmp_path):
    told = drawn(tmp_path, "per-class", "mine", "--against", runs["probe"][:8])
    assert {each["name"]: (each["videos"], each["gain"]) for each in told["numbers"]} == {
        "up": (2, 0.5),
        "down": (1, 0),
    }
    assert f"mine ({runs['mine'][:8]}) less probe ({runs['probe'][:8]})" in told["caption"]
    assert len(drawn(tmp_path, "per-class", "mine", "--against", "probe", "--worst", "1")["numbers"]) == 1
    alone = drawn(tmp_path, "per-class", "mine")["numbers"]
    assert [each["accuracy"] for each in alone] == [1.0, 0.5]


def test_runs_of_another_protocol_are_refused_and_may_be_allowed(runs, tmp_path):
    line = complaint(tmp_path, "per-class", "mine", "--against", "other-frames")
    for word in ("per-class: data.frames: 4 in mine", "2 in other-frames", "--anyway data.frames"):
        assert word in line, line
    drawn(tmp_path, "per-class", "mine", "--against", "other-frames", "--anyway", "data.frames")


def test_figure_5_is_against_the_zero_shot_run_of_the_same_data(runs, tmp_path):
    told = drawn(tmp_path, "per-class", "mine", "--against", "zero-shot", "--worst", "1")
    assert f"less clip ({runs['clip'][:8]})" in told["caption"]
    assert [(each["name"], each["against"], each["gain"]) for each in told["numbers"]] == [("up", 0.0, 0.5)]


def test_a_zero_shot_run_of_other_data_is_none(runs, tmp_path):
    line = complaint(tmp_path, "per-class", "elsewhere", "--against", "zero-shot")
    assert "no zero-shot run on the data of elsewhere" in line
    assert "fix: make one: side4video run SPEC --set 'method={kind: zero-shot}'" in line


def test_curves(runs, tmp_path):
    told = drawn(tmp_path, "curves", "mine")
    assert told["numbers"]["eval/top1"] == {"epochs": [1.0, 2.0], "values": [0.75, 0.5]}
    assert told["numbers"]["train/loss"] == {"epochs": [0.5, 2.0], "values": [2.0, 1.0]}
    assert "the best top-1 is 75.0%, after epoch 1." in told["caption"]


def test_a_result_that_was_taken_over_has_the_curves_of_its_source(runs, tmp_path):
    assert drawn(tmp_path, "curves", "taken")["numbers"] == drawn(tmp_path, "curves", "mine")["numbers"]


def test_step_time_of_a_run_and_of_a_document(runs, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(json.dumps(tiny(name="planned").resolved()))
    own, planned = drawn(tmp_path, "step-time", "mine", file)["numbers"]
    assert own["seconds"] == {"backbone": 0.125, "side": 0.375}
    assert own["predicted_parts_gib"] == PARTS
    assert planned["label"] == "planned"
    assert planned["estimated"]
    assert planned["step_seconds"] > 0


def test_data_efficiency_takes_all_runs_of_a_name(runs, tmp_path):
    numbers = drawn(tmp_path, "data-efficiency", "shares")["numbers"]
    assert numbers == {
        "side4video": [
            {"share": 0.25, "values": [0.5], "mean": 0.5},
            {"share": 1.0, "values": [0.5], "mean": 0.5},
        ]
    }
    same = drawn(tmp_path, "data-efficiency", runs["small"], runs["whole"][:12])["numbers"]
    assert same == numbers
    assert "have one share of the training data" in complaint(tmp_path, "data-efficiency", runs["whole"])


def test_memory_of_ones_own_documents_beside_the_papers(runs, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(json.dumps(tiny(name="planned").resolved()))
    result = call("memory", file, "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["numbers"]
    (own,) = (row for row in numbers if row["experiment"] == "planned")
    assert own["planned_gib"] > 0
    assert own["paper_gb"] is None
    assert sum(row["paper_gb"] is not None for row in numbers) == 12


@pytest.mark.parametrize("command", ["confusion", "per-class", "curves", "step-time", "data-efficiency", "pareto"])
def test_an_unknown_run_is_said(command, runs, tmp_path):
    line = complaint(tmp_path, command, "nobody-made-this")
    assert "no run has this name or id" in line
    assert "allowed: " in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["pareto", "coordinates"])
def test_a_run_is_no_sweep(command, runs, tmp_path):
    assert "the run mine is not of a sweep" in complaint(tmp_path, command, "mine")


def test_a_run_without_predictions_times_or_curves_is_said(runs, tmp_path):
    assert "has no predictions (failed)" in complaint(tmp_path, "confusion", "silent")
    assert "side4video run SPEC --resume" in complaint(tmp_path, "per-class", "silent")
    assert "has no times of a step" in complaint(tmp_path, "step-time", "silent")
    assert "was never evaluated" in complaint(tmp_path, "curves", "silent")
    line = complaint(tmp_path, "confusion", "pairs")
    assert "is of retrieval, and its predictions are of no classes" in line


def test_a_place_that_is_no_folder_is_said(runs, tmp_path):
    (tmp_path / "file").touch()
    result = call("confusion", "mine", "--out", tmp_path / "file" / "below")
    assert isinstance(result.exception, InputError)
    assert "--out: " in str(result.exception)


def test_help_explains_each_figure_and_loads_nothing_slow():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom side4video.cli.main import cli\n"
        "told = CliRunner().invoke(cli, ['figure', '--help']).output\n"
        "print(' '.join(told.split()))\n"
        "print([name for name in ('torch', 'mlflow', 'matplotlib', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    told, loaded = done.stdout.strip().splitlines()
    assert loaded == "[]"
    for words in ("Figure 1", "Figure 4", "Figure 5", "Learning curves", "confusion matrix", "Time and memory"):
        assert words in told, words


def test_what_runs_measured_stands_beside_the_plan_with_its_own_batch(runs, tmp_path):
    """A worker's clips: two copies of its half of 16 in two parts."""
    changes = {"cluster": {"workers": 2}, "optimization": {"batch_size": 16, "accumulation": 2}}
    times = {"memory/peak_gib": 3.0}
    store = MLflowStore().prepare()
    recorded(store, "ssv2-vitb16", times=times, data={"repeated_sampling": 2}, **changes)
    recorded(store, "ssv2-vitb16", times={"memory/peak_gib": 4.0}, data={"repeated_sampling": 2}, seed=1, **changes)
    (row,) = (each for each in memory_rows([], store) if each.experiment == "ssv2-vitb16")
    assert (row.measured_gib.mean, row.measured_gib.count, row.measured_clips) == (3.5, 2, 8)
    assert row.paper_gb == 18.8
    (other,) = (each for each in memory_rows([], store) if each.experiment == "ssv2-vitb16-light")
    assert other.measured_gib.count == 0


def test_figure_1_is_part_of_table_2s_page(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "planned_peak", lambda spec, **_: PlannedPeak(spec.clips_per_part * 2**30, 1))
    result = CliRunner().invoke(report, ["table2", "--out", str(tmp_path / "with")])
    assert result.exit_code == 0, (result.output, result.exception)
    page = (tmp_path / "with" / "table2.html").read_text()
    assert '<svg id="memory" role="img"' in page
    assert "Training memory and the size of the backbone" in page
    result = CliRunner().invoke(report, ["table2", "--out", str(tmp_path / "without"), "--no-figures"])
    assert result.exit_code == 0
    assert "<svg" not in (tmp_path / "without" / "table2.html").read_text()

"""A validation split chooses the weights, ends runs early and decides between arms; the test split is used once."""

import csv
import json
import shutil

import pytest
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import checkpoint_source
from side4video.run import RunContext, evaluate_students
from side4video.run import run as train
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import STATE_TAG
from sweeps import make_sweep, run
from tiny import tiny
from validation_clips import list_with_validation
from workers import run_workers

pytestmark = pytest.mark.slow

EPOCHS = 5
CONSTANT_RATE = {"length": {"epochs": EPOCHS}, "learning_rate": 3e-2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tiny().data.dataset.prepare()
    return list_with_validation(tmp_path_factory.mktemp("validation") / "clips")


def experiment(dataset, **changes):
    data = {"dataset": dataset, **changes.pop("data", {})}
    return tiny(data=data, optimization={**CONSTANT_RATE, **changes.pop("optimization", {})}, **changes)


def trained(spec, folder, **context):
    """The reports of a training in this process; the last checkpoint is in `folder / "kept"`."""
    reports = []

    def keep(report):
        reports.append(report)
        if report.checkpoint is not None:
            shutil.rmtree(folder / "kept", ignore_errors=True)
            shutil.copytree(report.checkpoint, folder / "kept")

    (folder / "scratch").mkdir(exist_ok=True)
    result = train({"a": spec}, RunContext(ProcessGroup(), folder / "scratch", keep, **context))["a"]
    return reports, result


def logged(reports, key):
    return [each.value for report in reports for each in report.metrics["a"] if each.key == key]


@pytest.mark.parametrize("rule", ["auto", "best", "last"])
def test_the_test_split_is_evaluated_once_with_the_chosen_weights(dataset, tmp_path, rule):
    spec = experiment(dataset, evaluation={"choose_epoch": rule})
    reports, result = trained(spec, tmp_path)
    assert logged(reports, "val/epoch") == list(range(EPOCHS))
    assert logged(reports, "eval/epoch") == [result.metrics["eval/epoch"]]
    best = int(result.metrics["best_val/epoch"])
    accuracies = logged(reports, "val/top1")
    assert accuracies[best] == max(accuracies)
    assert best < EPOCHS - 1, "another seed, or this test shows nothing"
    assert result.metrics["eval/epoch"] == (EPOCHS - 1 if rule == "last" else best)
    name = "weights" if rule == "last" else "best"
    answers, _ = evaluate_students({"a": spec}, {"a": tmp_path / "kept" / "a" / f"{name}.safetensors"}, ProcessGroup())
    assert {key: result.metrics[f"eval/{key}"] for key in answers["a"].metrics} == answers["a"].metrics
    assert result.metrics["eval/loss"] == answers["a"].loss
    answers["a"].write_predictions(tmp_path / "predictions.csv")
    assert (tmp_path / "predictions.csv").read_text() == (tmp_path / "kept" / "a" / "predictions.csv").read_text()
    assert not any(key.startswith("best/") for key in result.metrics)


def test_the_last_weights_are_not_those_of_the_test(dataset, tmp_path):
    """The weights that were borrowed for the test are given back: the last ones are those of every rule."""
    kept = []
    for rule in ("auto", "last"):
        (tmp_path / rule).mkdir()
        trained(experiment(dataset, evaluation={"choose_epoch": rule}), tmp_path / rule)
        files = [tmp_path / rule / "kept" / "a" / f"{name}.safetensors" for name in ("weights", "best", "optimizer")]
        kept.append([file.read_bytes() for file in files])
    assert kept[0] == kept[1]
    assert kept[0][0] != kept[0][1]


def test_a_run_that_goes_on_chooses_as_one_undisturbed(dataset, tmp_path):
    spec = experiment(dataset)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    _, whole = trained(spec, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(report):
        if report.checkpoint is not None:
            shutil.copytree(report.checkpoint, tmp_path / f"epoch-{report.epoch}")
        if report.epoch == EPOCHS - 2:
            raise Stopped

    (tmp_path / "parts" / "first").mkdir()
    with pytest.raises(Stopped):
        train({"a": spec}, RunContext(ProcessGroup(), tmp_path / "parts" / "first", stop))
    source = checkpoint_source(tmp_path / f"epoch-{EPOCHS - 2}")
    _, resumed = trained(spec, tmp_path / "parts", resume_from=[source])
    measured = [
        {key: value for key, value in each.metrics.items() if not key.startswith("memory/")}
        for each in (whole, resumed)
    ]
    assert measured[0] == measured[1]
    names = ("weights.safetensors", "best.safetensors", "predictions.csv")
    for name in names:
        assert (tmp_path / "whole/kept/a" / name).read_bytes() == (tmp_path / "parts/kept/a" / name).read_bytes()


WORKERS = """
from side4video.run import RunContext, run
from tiny import tiny
spec = tiny(**json.loads((folder / "changes.json").read_text()), cluster={"workers": 1})
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir()
result = run({"a": spec}, RunContext(process, scratch, lambda report: None))["a"]
(folder / f"world-{world}-{rank}.json").write_text(json.dumps(result.metrics))
"""


def test_every_worker_tests_the_weights_of_the_first(dataset, tmp_path):
    """Only the first worker has the file of the best weights."""
    changes = {"data": {"dataset": dataset}, "optimization": CONSTANT_RATE, "method": {"kind": "linear"}}
    (tmp_path / "changes.json").write_text(json.dumps(changes))
    for world in (1, 2):
        run_workers(world, tmp_path, WORKERS)
    one, first, second = (json.loads((tmp_path / f"world-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    # Metrics of ranks jump where two scores are nearly equal.
    names = [f"{area}/{name}" for area in ("eval", "val") for name in ("top1", "loss", "nll", "epoch", "videos")]
    assert first["eval/top1"] == second["eval/top1"]
    assert one["best_val/epoch"] == first["best_val/epoch"] < EPOCHS - 1
    for key in names:
        assert one[key] == pytest.approx(first[key], rel=1e-4)


@pytest.mark.parametrize("views", [1, 2])
def test_features_of_the_validation_clips_are_cached_too(dataset, tmp_path, views):
    still = {"augmentation": {"crop": {"kind": "centre"}, "flip_probability": 0.0}, "sampling": {"kind": "centre"}}
    results = []
    for features in ({"kind": "computed"}, {"kind": "cached", "folder": str(tmp_path / "features")}):
        folder = tmp_path / features["kind"]
        folder.mkdir()
        data = {**still, "views": {"clips": views}}
        results.append(trained(experiment(dataset, data=data, features=features), folder)[1].metrics)
    assert len(list((tmp_path / "features").glob("*/val-view*"))) == views
    for key in ("val/top1", "val/loss", "eval/top1", "eval/loss", "best_val/epoch"):
        assert results[0][key] == pytest.approx(results[1][key], rel=1e-5)


@pytest.mark.parametrize("patience", [1, 2])
def test_a_run_ends_early(dataset, tmp_path, patience):
    whole, _ = trained(experiment(dataset, optimization={"length": {"epochs": 8}}), tmp_path)
    shutil.rmtree(tmp_path / "scratch")
    spec = experiment(
        dataset, optimization={"length": {"epochs": 8}}, evaluation={"early_stopping": {"patience": patience}}
    )
    reports, result = trained(spec, tmp_path)
    accuracies = logged(whole, "val/top1")
    best = since = 0
    for epoch, value in enumerate(accuracies):
        best, since = (epoch, 0) if value > accuracies[best] or not epoch else (best, since + 1)
        if since == patience:
            break
    assert epoch < 7, "another seed, or this test shows nothing"
    assert logged(reports, "val/top1") == accuracies[: epoch + 1]
    assert result.state == "finished"
    assert result.steps_trained == (epoch + 1) * result.steps // 8
    assert result.metrics["eval/epoch"] == result.metrics["best_val/epoch"] == best
    assert result.notes == [f"ended early, after epoch {epoch + 1}: the validation split gave no better value"]


def test_early_stopping_needs_a_validation_split():
    spec = tiny(evaluation={"early_stopping": {"patience": 1}})
    with pytest.raises(InputError, match=r"early_stopping: the data set motion has no validation split"):
        launch({"tiny": spec}, progress=SILENT)


def test_commands_take_the_chosen_weights_and_say_which(dataset):
    spec = experiment(dataset, name="chosen-weights")
    finished = launch({spec.name: spec}, progress=SILENT)[spec.name]
    best = int(finished.metrics["best_val/epoch"]) + 1
    answers = {
        weights: json.loads(
            CliRunner().invoke(cli, ["evaluate", finished.run_id, "--json", "--weights", weights]).stdout
        )
        for weights in ("chosen", "best", "last")
    }
    assert answers["chosen"] == answers["best"]
    assert answers["chosen"]["metrics"]["eval/top1"] == finished.metrics["eval/top1"]
    assert answers["chosen"]["weights"] == f"epoch {best}, the best on the validation split"
    assert answers["last"]["weights"] == f"epoch {EPOCHS}, the last one"
    printed = CliRunner().invoke(cli, ["evaluate", finished.run_id]).stdout
    assert f"weights of epoch {best}, the best on the validation split" in " ".join(printed.split())


def test_without_a_validation_split_the_last_epoch_is_chosen():
    spec = tiny(name="no-validation", optimization=CONSTANT_RATE)
    finished = launch({spec.name: spec}, progress=SILENT)[spec.name]
    answer = json.loads(CliRunner().invoke(cli, ["evaluate", finished.run_id, "--json"]).stdout)
    assert answer["weights"] == f"epoch {EPOCHS}, the last one"
    assert answer["metrics"]["eval/top1"] == finished.metrics["eval/top1"]
    asked = tiny(name="best-on-test", optimization=CONSTANT_RATE, evaluation={"choose_epoch": "best"})
    assert asked.digest() == tiny(name="old", optimization=CONSTANT_RATE).digest()
    finished = launch({asked.name: asked}, progress=SILENT)[asked.name]
    answer = json.loads(CliRunner().invoke(cli, ["evaluate", finished.run_id, "--json"]).stdout)
    assert answer["weights"] == f"epoch {int(finished.metrics['best/epoch']) + 1}, the best on the test split"
    assert answer["metrics"]["eval/top1"] == finished.metrics["best/top1"]


def test_arms_are_stopped_by_the_validation_split(dataset):
    """Of a run with a validation split, ASHA and Optuna get `val/...` for `eval/...`: the test split comes too late."""
    from side4video.tracking.finished_runs import metric_history

    own = {"data": {"dataset": dataset}, "optimization": {"length": {"epochs": 2}}, "seed": 97}
    run(make_sweep("validated", own, grid={"method.layers": [1, 2]}))
    store = MLflowStore().prepare()
    runs = [each for each in store.runs(tags={STATE_TAG: "finished"}) if "val/top1" in each.metrics]
    assert len(runs) >= 2
    for each in runs[:2]:
        history = metric_history(store, each.run_id, "eval/top1")
        assert [found.epoch for found in history] == [0, 1]
        assert [found.metrics["val/top1"] for found in history if "val/top1" in found.metrics] == []
        values = [metric.value for metric in store.history(each.run_id, "val/top1")]
        assert [found.metrics["eval/top1"] for found in history] == values


def test_an_interrupted_test_is_repeated(dataset):
    spec = experiment(dataset, name="interrupted-test", optimization={"length": {"epochs": 2}})

    def interrupt(message):
        if message["phase"] == "evaluated" and message.get("epoch") == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch({spec.name: spec}, progress=MessageProgress(interrupt))
    resumed = launch({spec.name: spec}, progress=SILENT, resume=True)[spec.name]
    other = experiment(dataset, name="other", optimization={"length": {"epochs": 2}})
    undisturbed = launch({"other": other}, progress=SILENT)["other"]
    keys = [key for key in undisturbed.metrics if key.startswith(("eval/", "val/", "best_val/"))]
    assert {key: resumed.metrics[key] for key in keys} == {key: undisturbed.metrics[key] for key in keys}


def test_a_split_can_be_evaluated_and_its_predictions_name_videos(dataset, tmp_path):
    spec = experiment(dataset, name="evaluated-splits", optimization={"length": {"epochs": 2}})
    finished = launch({spec.name: spec}, progress=SILENT)[spec.name]
    file = tmp_path / "predictions.csv"
    command = ["evaluate", finished.run_id, "--split", "val", "--json", "--predictions", str(file)]
    answer = json.loads(CliRunner().invoke(cli, command).stdout)
    assert answer["split"] == "val"
    assert answer["metrics"]["val/top1"] == finished.metrics["best_val/top1"]
    assert "eval/top1" not in answer["metrics"]
    rows = list(csv.DictReader(file.open()))
    clips = spec.data.dataset.clips("val")
    assert [row["video"] for row in rows] == [clip.path for clip in clips]
    for row in rows:
        scores = {name.removeprefix("score "): float(value) for name, value in row.items() if name.startswith("score ")}
        assert len(scores) == 10
        assert sum(scores.values()) == pytest.approx(1, abs=1e-4)
        assert max(scores, key=scores.get) == row["prediction"]
        assert scores[row["label"]] == pytest.approx(float(row["label_score"]), abs=1e-6)
    without = tiny(name="without-validation", optimization={"length": {"epochs": 1}})
    finished = launch({without.name: without}, progress=SILENT)[without.name]
    refused = CliRunner().invoke(cli, ["evaluate", finished.run_id, "--split", "val"])
    assert isinstance(refused.exception, InputError)
    assert "--split: val, and the data set has none" in str(refused.exception)
    printed = CliRunner().invoke(cli, ["evaluate", finished.run_id]).stdout
    assert "eval/loss (label smoothing 0.1)" in printed

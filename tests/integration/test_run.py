"""The main job without Ray: one document becomes a trained, evaluated, recorded model."""

import csv
import json

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from side4video.cli.evaluate import evaluate as evaluate_command
from side4video.cli.run import run as run_command
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged, tiny


def quiet(message):
    pass


def weights(store, run_id, folder):
    place = store.download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


@pytest.fixture(scope="module")
def finished():
    return launch({"tiny": tiny()}, progress=SILENT)["tiny"]


def test_record_is_complete(finished, tmp_path):
    store = MLflowStore().prepare()
    run = store.get(finished.run_id)
    assert run.status == "FINISHED"
    for key in (
        "train/loss",
        "train/learning_rate",
        "train/gradient_norm",
        "eval/top1",
        "eval/top5",
        "eval/mean_class_accuracy",
        "eval/loss",
        "best/top1",
        "memory/held_for_backward_gib",
        "plan/held_for_backward_gib",
        "memory/peak_gib",
        "memory/process_gib",
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "plan/peak_memory_gib",
        "time/data_wait_s",
        "time/backbone_s",
        "time/side_s",
        "time/optimizer_s",
        "time/clips_per_s",
        "model/trainable_parameters",
        "plan/multiply_adds_per_view",
        "data/broken_clips",
    ):
        assert key in run.metrics, key
    for tag in (
        "mlflow.note.content",
        "commit",
        "version/torch",
        "dataset_fingerprint",
        "side4video.digest",
        "backbone_sha256",
        "protocol",
    ):
        assert run.tags[tag], tag
    assert run.params["method.dim"] == "64"
    assert json.loads(store.download(finished.run_id, "spec.json", tmp_path).read_text()) == tiny().resolved()
    rows = list(csv.DictReader(store.download(finished.run_id, "predictions.csv", tmp_path).open()))
    assert len(rows) == 20
    right = sum(int(row["correct"]) for row in rows) / 20
    assert run.metrics["eval/top1"] == pytest.approx(right)
    assert len(store.history(finished.run_id, "eval/top1")) == 2


def test_predicted_memory_is_what_was_held(finished):
    assert finished.plan["held_for_backward_gib"] == pytest.approx(finished.memory["held_for_backward_gib"], rel=0.01)
    assert finished.plan["trainable_parameters"] == finished.trainable_parameters


WORKSPACE_GIB = 32 / 1024
"""cuBLAS's, which is in the plan and not on a CPU."""


@pytest.mark.parametrize(
    "changes",
    [{}, {"method": {"kind": "linear"}}, {"method": {"kind": "full"}}, {"optimization": {"accumulation": 2}}],
    ids=["side network", "linear probe", "full fine-tuning", "accumulation"],
)
def test_predicted_peak_is_what_the_tensors_took(changes):
    run = launch({"tiny": tiny(seed=9, **changes)}, progress=SILENT)["tiny"]
    assert run.memory["peak_gib"] == pytest.approx(run.plan["peak_memory_gib"] - WORKSPACE_GIB, rel=0.02)
    assert run.metrics["memory/peak_gib"] == run.memory["peak_gib"]


def test_twin_that_does_not_count_the_optimizers_state_misses_the_plan(monkeypatch):
    monkeypatch.setattr("side4video.engine.student.state_bytes", lambda optimizer: 0)
    run = launch({"tiny": tiny(seed=9)}, progress=SILENT)["tiny"]
    assert run.memory["peak_gib"] < 0.9 * (run.plan["peak_memory_gib"] - WORKSPACE_GIB)


def test_same_spec_same_weights_other_seed_other_weights(finished, tmp_path):
    store = MLflowStore().prepare()
    again = launch({"tiny": tiny()}, progress=SILENT)["tiny"]
    other = launch({"tiny": tiny(seed=1)}, progress=SILENT)["tiny"]
    assert again.run_id != finished.run_id
    first = weights(store, finished.run_id, tmp_path / "first")
    second = weights(store, again.run_id, tmp_path / "second")
    third = weights(store, other.run_id, tmp_path / "third")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_pack_of_two_is_recorded_as_two_runs_equal_to_separate_ones(finished, tmp_path):
    store = MLflowStore().prepare()
    pack = launch({"a": tiny(name="a"), "b": tiny(name="b", method={"kind": "linear"})}, progress=SILENT)
    assert pack["a"].run_id != pack["b"].run_id
    alone = weights(store, finished.run_id, tmp_path / "alone")
    packed = load_file(
        store.download(pack["a"].run_id, "checkpoint", tmp_path / "packed") / "a" / "weights.safetensors"
    )
    assert all(torch.equal(alone[name], packed[name]) for name in alone)
    assert store.get(pack["b"].run_id).tags["method"] == "linear"


def test_pack_must_share_data_and_backbone():
    with pytest.raises(InputError, match="b: data"):
        launch({"a": tiny(name="a"), "b": tiny(name="b", data={"frames": 5})}, progress=SILENT)


def test_interrupted_run_resumes_to_the_same_end(finished, tmp_path):
    store = MLflowStore().prepare()
    spec = tiny(tracking={"experiment": "interrupted"})
    seen = []

    def interrupt(message):
        if message["phase"] == "evaluated":
            seen.append(message)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch({"tiny": spec}, progress=MessageProgress(interrupt))
    runs = MLflowStore(experiment="interrupted").prepare().runs()
    assert [run.status for run in runs] == ["KILLED"]
    resumed = launch({"tiny": spec}, progress=SILENT, resume=True)["tiny"]
    assert resumed.run_id == runs[0].run_id
    first = weights(store, finished.run_id, tmp_path / "first")
    second = weights(store, resumed.run_id, tmp_path / "second")
    assert all(torch.equal(first[name], second[name]) for name in first)
    history = MLflowStore(experiment="interrupted").history(resumed.run_id, "train/loss")
    assert len({metric.step for metric in history}) == len(history)
    with pytest.raises(InputError, match="no unfinished run"):
        launch({"tiny": spec}, progress=SILENT, resume=True)


def test_commands(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(DOCUMENT))
    done = CliRunner().invoke(run_command, [str(file), "--local", "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert {"run_id", "metrics", "memory", "time"} <= answer.keys()
    table = CliRunner().invoke(run_command, [str(file), "--local"])
    assert "top-1" in table.stdout
    again = CliRunner().invoke(evaluate_command, [answer["run_id"][:10], "--json", "--weights", "last"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["metrics"]["eval/top1"] == answer["metrics"]["eval/top1"]
    views = ["--set", "data.views={clips: 2, crops: 3}", "--predictions", str(tmp_path / "predictions.csv")]
    more = CliRunner().invoke(evaluate_command, [answer["run_id"], "--json", *views])
    assert json.loads(more.stdout)["views"] == 6
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 21


def test_broken_clips(tmp_path):
    tiny().data.dataset.prepare()
    clips = tiny().data.dataset.clips("train") + tiny().data.dataset.clips("test")
    classes = tiny().data.dataset.classes()
    (tmp_path / "empty.mp4").write_bytes(b"")
    rows = [f"{clip.path},{classes[clip.label]},{'train' if n < 20 else 'test'}" for n, clip in enumerate(clips)]
    rows[3] = f"empty.mp4,{classes[0]},train"
    rows[30] = f"missing.mp4,{classes[0]},test"
    table = tmp_path / "list.csv"
    table.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    dataset = {"kind": "list", "annotations": str(table), "root": "/"}
    for row in (3, 30):
        rows[row] = f"{tmp_path}/{rows[row]}"
    table.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=r"list\.csv:32: there is no file"):  # before anything is planned
        launch({"tiny": tiny(data={"dataset": dataset})}, progress=SILENT)
    (tmp_path / "missing.mp4").touch()
    with pytest.raises(InputError, match=r"list\.csv:5: .*empty"):
        launch({"tiny": tiny(data={"dataset": dataset})}, progress=SILENT)
    (tmp_path / "missing.mp4").unlink()
    skip = {"dataset": dataset, "broken_clips": {"kind": "skip", "cap": 0.2}}
    done = launch({"tiny": tiny(data=skip)}, progress=SILENT)["tiny"]
    assert sorted(row["origin"].rpartition(":")[2] for row in done.broken_clips) == ["32", "5"]
    assert done.metrics["eval/videos"] == 19
    capped = {"dataset": dataset, "broken_clips": {"kind": "skip", "cap": 0.01}}
    with pytest.raises(InputError, match="cap"):
        launch({"tiny": tiny(data=capped)}, progress=SILENT)


def test_merge_replaces_unions():
    assert merged({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y"}}) == {"a": {"kind": "y"}}

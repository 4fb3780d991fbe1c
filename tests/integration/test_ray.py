"""The same job on Ray Train. One local cluster serves all tests here; starting workers takes most of the time."""

import os
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from side4video.cli.demo import demo
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.distributed.trainer import launch_on_ray
from side4video.runs.launch import launch
from side4video.spec.load import load_experiment
from side4video.terminal.progress import ProgressView
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def quiet(message):
    pass


def weights(run_id, folder):
    place = MLflowStore().prepare().download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


def spec_of_relative_paths(folder):
    """A spec whose list, class names and weights lie in the folder that the command runs in."""
    plain = tiny()
    (folder / "clips").mkdir()
    rows = ["path,label,split"]
    for split, count in (("train", 20), ("test", 12)):
        for number, clip in enumerate(plain.data.dataset.clips(split)[:count]):
            shutil.copy(clip.path, folder / f"clips/{split}{number}.mp4")
            rows.append(f"{split}{number}.mp4,{clip.label},{split}")
    (folder / "clips/list.csv").write_text("\n".join(rows) + "\n")
    (folder / "names.txt").write_text("\n".join(plain.data.dataset.classes()) + "\n")
    save_file(dict(plain.backbone.read_weights().tensors), str(folder / "tower.safetensors"))
    dataset = {"kind": "list", "annotations": "clips/list.csv", "class_names": {"kind": "file", "path": "names.txt"}}
    return tiny(
        cluster={"workers": 1, "cpus_per_worker": 1, "storage": "checkpoints"},
        backbone={"weights": {"kind": "file", "path": "tower.safetensors"}},
        data={"dataset": dataset},
    )


def test_one_worker_equals_local_bit_by_bit(cluster, tmp_path, monkeypatch):
    """Also with paths that are relative: Ray's workers run in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    spec = spec_of_relative_paths(tmp_path)
    here = launch({"tiny": spec}, progress=SILENT)["tiny"]
    seen = []
    there = launch_on_ray({"tiny": spec}, progress=MessageProgress(seen.append))["tiny"]
    assert any(message["phase"] == "evaluated" for message in seen)
    first, second = weights(here.run_id, tmp_path / "here"), weights(there.run_id, tmp_path / "there")
    assert all(torch.equal(first[name], second[name]) for name in first)
    same = ("eval/top1", "eval/top5", "eval/loss", "eval/mean_class_accuracy")
    assert {key: here.metrics[key] for key in same} == {key: there.metrics[key] for key in same}
    store = MLflowStore().prepare()
    assert store.get(there.run_id).status == "FINISHED"
    losses = [[metric.value for metric in store.history(run.run_id, "train/loss")] for run in (here, there)]
    assert losses[0] == losses[1]


def test_the_demo_compares_two_models_and_writes_its_page(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the preset is found from any folder
    few = ["data.dataset.train_clips=32", "data.dataset.test_clips=16", "evaluation.every_epochs=1"]
    few += ["optimization.length={epochs: 1}", "optimization.warmup={steps: 0}"]
    assert load_experiment("quickstart", few).cluster.workers == 2
    before = {run.run_id for run in MLflowStore().prepare().runs()}
    phases, report = set(), ProgressView.report

    def note(view, phase, *done, **details):
        phases.add(phase)
        report(view, phase, *done, **details)

    monkeypatch.setattr(ProgressView, "report", note)
    settings = [word for setting in few for word in ("--set", setting)]
    answer = CliRunner().invoke(demo, settings, catch_exceptions=False)
    assert answer.exit_code == 0
    page = tmp_path / "build/demo/index.html"
    assert str(page) in answer.output
    assert "side4video sweep quickstart-sweep" in answer.output
    text = page.read_text()
    assert text.count("data:image/webp") == 6
    assert "linear probe" in text
    assert all(phase in text for phase in ("planning", "training"))
    assert "evaluated" in phases
    found = {run.name: run for run in MLflowStore().prepare().runs() if run.run_id not in before}
    assert found.keys() == {"quickstart", "linear-probe"}
    assert [run.status for run in found.values()] == ["FINISHED"] * 2
    assert [run.metrics["eval/videos"] for run in found.values()] == [16] * 2


def test_two_workers_say_what_is_wrong(cluster, tmp_path):
    """A broken clip in the last epoch's evaluation would be too late: here it is met in training, by one worker."""
    (tmp_path / "broken.mp4").write_text("no video")
    clips = tiny().data.dataset.clips("train")
    rows = [f"{clip.path} {clip.label} train" for clip in clips]
    rows[2] = f"{tmp_path}/broken.mp4 0 train"
    rows += [f"{clip.path} {clip.label} test" for clip in clips[:4]]
    (tmp_path / "list.txt").write_text("path label split\n" + "\n".join(rows) + "\n")
    dataset = {"kind": "list", "annotations": str(tmp_path / "list.txt"), "root": "/"}
    spec = tiny(cluster={"workers": 2, "max_failures": 0}, data={"dataset": dataset})
    with pytest.raises(InputError, match=r"list\.txt:4"):
        launch_on_ray({"tiny": spec}, progress=SILENT)


def test_more_workers_than_cores_is_said_at_once(cluster):
    many = (os.cpu_count() or 1) + 2
    spec = tiny(cluster={"workers": many}, optimization={"batch_size": many}, data={"dataset": {"train_clips": 100}})
    with pytest.raises(InputError, match=r"cluster\.workers"):
        launch_on_ray({"tiny": spec}, progress=SILENT)

"""Several labels and several heads without Ray: two and three workers evaluate and train what one does."""

import json

import pytest
import torch
from safetensors.torch import load_file

from label_sets import TASKS, make_labelled_list
from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PRELUDE = """
from tiny import tiny
job = json.loads((folder / "job.json").read_text())
def spec(name, **changes):
    data = {"dataset": job["dataset"], "augmentation": {"flip_probability": 0.5}, "views": {"clips": 3, "crops": 3}}
    # With a small epsilon, AdamW makes whole steps of gradients that are nothing but rounding.
    optimization = {"batch_size": 6, "length": {"epochs": 3}, "epsilon": 1e-2}
    return tiny(task=job["tasks"][name], data=data, optimization=optimization, evaluation={"batch_size": 2}, **changes)
"""
EVALUATE = """
from side4video.run import evaluate_students
specs = {name: spec(name) for name in job["tasks"]}
results, _ = evaluate_students(specs, {name: folder / f"{name}.safetensors" for name in specs}, process)
if rank == world - 1:
    facts = {
        name: {
            "metrics": {key: repr(value) for key, value in each.metrics.items()},
            "classes": each.class_metrics,
            "loss": each.loss,
            "scores": each.found.scores_VC.tobytes().hex(),
            "views": each.views,
        }
        for name, each in results.items()
    }
    (folder / f"world-{world}.json").write_text(json.dumps(facts))
"""
TRAIN = """
import shutil
from side4video.run import RunContext, run
def keep(report):
    if report.checkpoint is not None:
        shutil.copytree(report.checkpoint, folder / f"trained-{world}", dirs_exist_ok=True)
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir()
changes = {"method": {"kind": "linear"}, "cluster": {"workers": world}}
run({name: spec(name, **changes) for name in job["tasks"]}, RunContext(process, scratch, keep))
"""
SEVERAL = {name: {**task, "dropout": 0.0} for name, task in TASKS.items() if name != "one"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    job = {"dataset": make_labelled_list(folder / "clips"), "tasks": SEVERAL}
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def test_any_number_of_workers_gives_the_same_evaluation(folder):
    from side4video.engine.checkpoint import save_tensors
    from side4video.engine.process_group import ProcessGroup
    from side4video.run import build_student
    from tiny import tiny

    job = json.loads((folder / "job.json").read_text())
    for name, task in SEVERAL.items():
        spec = tiny(task=task, data={"dataset": job["dataset"]})
        student = build_student(name, spec, ProcessGroup(), spec.backbone.build("cpu"))
        save_tensors(student.module, folder / f"{name}.safetensors")
    answers = []
    for world in (1, 2, 3):
        run_workers(world, folder, PRELUDE + EVALUATE)
        answers.append(json.loads((folder / f"world-{world}.json").read_text()))
    assert answers[0] == answers[1] == answers[2]
    assert all(each["views"] == 9 for each in answers[0].values())


def test_two_workers_train_what_one_trains(folder):
    for world in (1, 2):
        run_workers(world, folder, PRELUDE + TRAIN)
    for name in SEVERAL:
        one, two = (load_file(folder / f"trained-{world}" / name / "weights.safetensors") for world in (1, 2))
        assert one.keys() == two.keys()
        assert all(torch.allclose(one[key], two[key], rtol=1e-4, atol=1e-6) for key in one)

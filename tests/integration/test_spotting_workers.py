"""BIKE's loss over the texts of all workers' clips: two workers have the loss and the gradients of one."""

import pytest
import torch

from workers import run_workers

TRAIN = """
from dataclasses import replace

from torch import nn

import toys
from side4video.core.seeds import seeded
from side4video.engine.student import Student
from side4video.models.methods.bike import BIKESpec
from side4video.models.towers.text_tower import TextFeatures
from side4video.spec.optimization import OptimizationSpec
from side4video.tasks.recognition import spotting
from side4video.tasks.recognition.classification import Classification

SHARES = {1: [slice(0, 5)], 2: [slice(0, 3), slice(3, 5)]}
honest = spotting.gather_rows
answers = {}
for twin, gathering in {"honest": honest, "own clips": lambda rows, process: rows}.items():
    spotting.gather_rows = gathering
    method, tower = BIKESpec(layers=2), toys.new_tower()
    width = tower.shape.output_dim
    with seeded(4):
        texts = TextFeatures(torch.randn(3, width), torch.tensor(1.0), torch.randn(3, 6, width))
        network = method.build(tower, frames=toys.FRAMES)
    module = spotting.SpottingModule(network, spotting.SpottingHead(texts, temperature=0.3), process)
    spec = OptimizationSpec.model_validate({
        "batch_size": 5, "length": {"steps": 7}, "warmup": {"steps": 1}, "learning_rate": 1e-3, "precision": "fp32"
    })
    task = Classification(toys.CLASSES, label_smoothing=0.0, texts=texts)
    student = Student("a", module, task, spec, 0, method.reads(tower.shape, frames=toys.FRAMES), process)
    whole = toys.make_batch(0, size=5)
    part = {name: each[SHARES[world][rank]] for name, each in vars(whole).items()}
    batch = replace(whole, **part)
    features = toys.make_pack(student).features_for([student], batch)
    found = student.accumulate(features, student.task.targets(batch), clips=5, synchronize=True, draw=0)
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    answers[twin] = {"loss": found / len(batch), "gradients": gradients}
torch.save(answers, folder / f"answers-{world}-{rank}.pt")
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Loss and gradients of one worker with five clips, and of two with three and two of them."""
    folder, found = tmp_path_factory.mktemp("steps"), {}
    for world in (1, 2):
        run_workers(world, folder, TRAIN)
        found[world] = [torch.load(folder / f"answers-{world}-{rank}.pt") for rank in range(world)]
    return found


def largest_distance(steps, twin):
    one = steps[1][0]["honest"]
    found = []
    for answer in steps[2]:
        other = answer[twin]
        found.append(abs(float(other["loss"] - one["loss"])) / abs(float(one["loss"])))
        for name, gradient in one["gradients"].items():
            scale = max(float(gradient.abs().max()), 1e-6)
            found.append(float((other["gradients"][name] - gradient).abs().max()) / scale)
    return max(found)


def test_two_workers_are_one(steps):
    assert largest_distance(steps, "honest") < 1e-3


def test_twin_that_compares_its_own_clips_alone(steps):
    assert largest_distance(steps, "own clips") > 1e-2

"""A student that was written and read again gives the same outputs; what is written is what it trains, and buffers."""

import pytest
import torch
from safetensors.torch import load_file

import toys
from side4video.engine.checkpoint import load_tensors, save_tensors
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer


def outputs_of(student, family):
    student.module.eval()
    with torch.no_grad():
        outputs = student.module(toys.make_pack(student, family=family).features_for([student], toys.make_batch(5)))
    student.module.train()
    return outputs


def make(case, *, seed):
    method, family, classifier = case
    return toys.make_student("a", toys.METHODS[method], seed=seed, family=family, classifier=classifier)


def train(student, family):
    pack, batch = toys.make_pack(student, family=family), toys.make_batch(1)
    train_step(pack, [batch], step=1, plan=Plan(7, 3), timer=StepTimer(torch.device("cpu")))


def left_over(module, path):
    """What is in a file beside trained tensors and buffers."""
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return load_file(path).keys() - trained - {name for name, _ in module.named_buffers()}


@pytest.mark.parametrize("case", toys.TASKS, ids="-".join)
def test_written_and_read_again_it_gives_the_same_outputs(case, tmp_path):
    method, family, _ = case
    one, other = make(case, seed=1), make(case, seed=2)
    train(one, family)
    save_tensors(one.module, tmp_path / "weights.safetensors")
    load_tensors(other.module, tmp_path / "weights.safetensors")
    assert torch.equal(outputs_of(one, family), outputs_of(other, family))
    names = {
        name.removeprefix("network.trunk.visual.") for name in left_over(one.module, tmp_path / "weights.safetensors")
    }
    # A method that owns its tower writes the parts that it does not train with the rest.
    assert names <= toys.NOT_TRAINED.get(method, set())


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_twin_that_forgets_the_buffers(family, tmp_path):
    one, other = make(("side4video", family, "linear"), seed=1), make(("side4video", family, "linear"), seed=2)
    train(one, family)
    fresh = {name: buffer.clone() for name, buffer in other.module.named_buffers()}
    save_tensors(one.module, tmp_path / "weights.safetensors")
    load_tensors(other.module, tmp_path / "weights.safetensors")
    for name, buffer in other.module.named_buffers():
        buffer.copy_(fresh[name])
    assert not torch.equal(outputs_of(one, family), outputs_of(other, family))


def test_twin_that_writes_the_tower(tmp_path):
    student = make(("st-adapter", "clip", "linear"), seed=1)
    student.module.network.tower = student.module.network.borrowed.tower
    save_tensors(student.module, tmp_path / "weights.safetensors")
    assert left_over(student.module, tmp_path / "weights.safetensors")

"""How much is recomputed changes memory, never the result: outputs, gradients and batch statistics, bit by bit.

One exception, which is rounding: with `none`, a sum over the outputs of the perceptron's first layer runs through a
matrix of another layout, and so in another order. It gives the gain of the norm in front of it.
"""

import pytest
import torch

import toys
from oracle import perturb
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.networks.side_block import SideBlock

CASES = {
    "paper": {},
    "authors": {"preset": "authors"},
    "authors on EVA": {"preset": "authors-eva"},
    "attention over time, a token of its own, a gate": {
        "temporal": "attention",
        "representation": "extra-cls",
        "mixing": "gate",
    },
    "no time, no shift, the tower's token": {"temporal": "none", "cls_shift": False, "representation": "vit-cls"},
}
REORDERED = "perceptron_norm.weight"


def step(case, recompute, family="clip", kept_tokens="own-precision"):
    """Outputs, gradients and buffers after a step's forward and backward."""
    method = Side4VideoSpec.model_validate({"layers": 3, "dim": 64, "recompute": recompute, **CASES[case]})
    student = toys.make_student("a", method, family=family)
    perturb(student.module, seed=3)
    student.module.head[0].p = 0.0
    pack, batch = toys.make_pack(student, family=family, kept_tokens=kept_tokens), toys.make_batch(0)
    outputs = student.module(pack.features_for([student], batch))
    student.task.loss(outputs, batch.labels_B).backward()
    gradients = {name: parameter.grad for name, parameter in student.module.named_parameters()}
    return {"outputs": outputs.detach()}, gradients, dict(student.module.named_buffers())


def assert_alike(one, other, *, except_for=""):
    """Bit by bit, and to 1e-6 for tensors whose name ends with `except_for`."""
    assert toys.same(one[0], other[0])
    assert toys.same(one[2], other[2])
    for name, expected in one[1].items():
        if except_for and name.endswith(except_for):
            assert (other[1][name] - expected).abs().max() <= 1e-6 * expected.abs().max(), name
        else:
            assert torch.equal(other[1][name], expected), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", toys.FAMILIES)
def test_all_three_give_the_same_step(case, family):
    none, selective, block = (step(case, recompute, family) for recompute in ("none", "selective", "block"))
    assert_alike(selective, block)
    assert_alike(none, block, except_for=REORDERED)


def test_so_they_do_with_tokens_kept_in_eight_bits():
    none, block = (step("paper", recompute, kept_tokens="8-bit") for recompute in ("none", "block"))
    assert_alike(none, block, except_for=REORDERED)


@pytest.mark.parametrize("recompute", ["none", "selective", "block"])
def test_a_batch_is_counted_once(recompute):
    buffers = step("paper", recompute)[2]
    counts = {int(buffer) for name, buffer in buffers.items() if name.endswith("num_batches_tracked")}
    assert counts == {1}


def test_twin_that_updates_statistics_twice(monkeypatch):
    run_attention = SideBlock.run_attention

    def forgetful(self, *args, update):
        return run_attention(self, *args, update=True)

    monkeypatch.setattr(SideBlock, "run_attention", forgetful)
    none, block = step("paper", "none"), step("paper", "block")
    counts = {int(buffer) for name, buffer in block[2].items() if name.endswith("num_batches_tracked")}
    assert counts == {1, 2}
    assert not toys.same(none[2], block[2])


def test_twin_that_recomputes_something_else(monkeypatch):
    run_attention = SideBlock.run_attention

    def careless(self, side_BTPD, *args, update):
        return run_attention(self, side_BTPD if update else side_BTPD * 1.001, *args, update=update)

    monkeypatch.setattr(SideBlock, "run_attention", careless)
    with pytest.raises(AssertionError):
        assert_alike(step("paper", "none"), step("paper", "block"), except_for=REORDERED)

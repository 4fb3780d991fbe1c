"""The peak in the optimizer's step, against a real step of AdamW over all tensors at once, counted to the byte."""

import pytest
import torch

from side4video.engine.memory import PeakBytes
from side4video.planning.allocator import ROUNDING
from side4video.planning.memory import WORKSPACE, plan_memory
from side4video.planning.meta_model import build_meta_model
from tiny import tiny

WIDE = {"method": {"dim": 512}, "optimization": {"batch_size": 1}}
"""So much is trained, on so little, that the optimizer's step takes the most."""


def numbers(module):
    return [torch.zeros(parameter.shape) for parameter in module.parameters() if parameter.requires_grad]


def taken_by_a_step(shapes, beside):
    """The most that is there in the second step of AdamW: weights, both moments, gradients, and what passes."""
    weights = [torch.nn.Parameter(tensor) for tensor in shapes]
    optimizer = torch.optim.AdamW(weights, foreach=True)  # what it does on a GPU, whatever it is told
    gradients = [torch.zeros_like(weight) for weight in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    moments = [tensor for each in optimizer.state.values() for tensor in each.values()]
    with PeakBytes([*weights, *moments, *gradients, *beside]) as alive:
        optimizer.step()
    return alive.peak


@pytest.mark.parametrize("changes", [WIDE, {**WIDE, "method": {"dim": 512, "layers": 1, "fusion": "top"}}])
def test_the_peak_of_the_optimizer_is_that_of_a_real_step(changes):
    spec = tiny(**changes)
    meta_model = build_meta_model(spec, classes=10)
    shapes = numbers(meta_model.module)
    gradients = sum(tensor.nbytes for tensor in shapes)
    beside = [torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in meta_model.tower.parameters()]
    beside += [torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in meta_model.module.buffers()]
    expected = taken_by_a_step(shapes, beside) + WORKSPACE
    plan = plan_memory(spec, meta_model)
    assert plan.phase == "optimizer"
    assert plan.peak == pytest.approx(expected, abs=0.1 * gradients)  # what is large is handed out in 2 MiB
    assert plan.parts["gradients"] == gradients
    assert plan.parts["optimizer"] == pytest.approx(2 * gradients, rel=0.05)
    assert plan.peak == sum(plan.parts.values())


def test_another_worker_costs_a_bucket_of_gradients():
    alone, beside = (
        plan_memory(spec, build_meta_model(spec, classes=10))
        for spec in (tiny(**WIDE), tiny(**{**WIDE, "optimization": {"batch_size": 2}, "cluster": {"workers": 2}}))
    )
    assert alone.phase == beside.phase == "optimizer"
    assert beside.peak - alone.peak == pytest.approx(alone.parts["gradients"], rel=0.05)


def rounded(size):
    """As CUDA's allocator hands it out."""
    return -(-size // ROUNDING) * ROUNDING


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kept_tokens", ["own-precision", "8-bit"])
def test_in_company_the_tokens_stay_with_their_scales(kept_tokens, precision):
    """Two blocks' tokens, of four frames of 17 tokens and 32 channels, under one scale each."""
    changes = {"backbone": {"kept_tokens": kept_tokens, "precision": precision}, "method": {"dim": 512}}
    spec = tiny(optimization={"batch_size": 1, "precision": precision}, **changes)
    plan = plan_memory(spec, build_meta_model(spec, classes=10))
    assert plan.phase == "optimizer"
    size, tokens = {"fp32": 4, "bf16": 2}[precision], 4 * 17
    block = rounded(tokens * 32) + rounded(tokens * size) if kept_tokens == "8-bit" else rounded(tokens * 32 * size)
    assert plan.peak_in_pack - plan.peak == 2 * block

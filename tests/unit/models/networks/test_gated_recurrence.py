"""Gated recurrence against an independent float64 statement of it, and the authors' counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import gated_statement as statement
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones import TimmSpec
from side4video.models.methods.gated_recurrence import GatedRecurrenceSpec
from side4video.models.networks.contract import FrozenFeatures


def build(options, *, frames=3, batch=2, width=24, **shape):
    tower = oracle.make_tower(width=width, **shape)
    spec = GatedRecurrenceSpec.model_validate({"layers": 2, **options})
    (tap,) = spec.reads(tower.shape, frames=frames).tokens
    with seeded(3):
        network = spec.build(tower, frames=frames)
        tokens = {tap: torch.randn(batch * frames, tower.shape.tokens, width)}
    oracle.perturb(network, seed=5)
    return network, FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, tokens)


def truth(network, features):
    state = oracle.double(network, trains=True)
    state |= {f"final_norm.{name}": buffer.double() for name, buffer in network.final_norm.named_buffers()}
    heads = network.core.layers[0].cross.heads
    tokens = features.tokens[network.tap].double()
    return statement.gated(tokens, state, layers=len(network.core.layers), heads=heads, frames=network.steps), state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", [{}, {"layers": 1, "heads": 1}, {"recompute": "none"}], ids=str)
def test_outputs_and_gradients_equal_the_statement(options, training):
    network, features = build(options)
    network.train(training)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    network, features = build({}, **shape)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_order_of_frames_counts():
    network, features = build({})
    (tap,) = features.tokens
    reversed_tokens = features.tokens[tap].unflatten(0, (2, 3)).flip(1).flatten(0, 1)
    other = FrozenFeatures(torch.empty(0), lambda video: video, features.layout, {tap: reversed_tokens})
    assert not torch.allclose(network(features), network(other), atol=1e-3)


def test_recomputing_changes_no_gradient():
    grads = []
    for recompute in ("none", "block"):
        network, features = build({"recompute": recompute})
        network(features).square().sum().backward()
        grads.append({name: each.grad for name, each in network.named_parameters() if each.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


@pytest.mark.parametrize(
    ("model", "core", "multiply_adds"),
    [
        ("vit_large_patch16_dinov3", 71_387_136, 245),
        ("vit_base_patch16_dinov3", 40_171_008, 141),
        ("vit_small_patch16_dinov3", 10_058_496, None),
    ],
)
def test_the_authors_counts(model, core, multiply_adds):
    tower = TimmSpec(model=model, weights={"kind": "random"}).build("meta")
    with torch.device("meta"):
        network = GatedRecurrenceSpec().build(tower, frames=16)
        tokens = torch.empty(16, tower.shape.tokens, tower.shape.width)
    found = sum(each.numel() for each in (*network.core.parameters(), *network.state_norm.parameters()))
    assert found == core
    readout = sum(parameter.numel() for parameter in network.readout.parameters())
    if tower.shape.width == 1024:
        assert readout + 174 * 769 == 7_025_582
    features = FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, {network.tap: tokens})
    if multiply_adds:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            state = network(features)
            # Theirs read out every frame; here the last one is.
            for _ in range(15):
                network.readout(torch.empty(1, tower.shape.tokens, tower.shape.width, device="meta"))
        assert state.shape == (1, 768)
        assert counter.get_total_flops() / 2e9 == pytest.approx(multiply_adds, rel=0.005)

"""Full fine-tuning against an independent float64 statement of the tower, outputs and gradients."""

import copy

import pytest
import torch

import clip_statement as statement
import oracle
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.methods.full import FullSpec
from side4video.models.networks.full import PROJECTIONS

VISUAL = "trunk.visual."


def build(*, frames=3, batch=2, size=12, **shape):
    tower = oracle.make_tower(size=size, **shape)
    network = FullSpec().build(tower, frames=frames)
    return tower, network, oracle.own_features(tower, oracle.make_video(batch=batch, frames=frames, size=size))


def truth(tower, network, features, *, quick=None):
    state = oracle.double(network, trains=True)
    out = statement.full(
        tower.normalise(features.video_BTCHW).double(),
        {name.removeprefix(VISUAL): tensor for name, tensor in state.items()},
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu if quick is None else quick,
    )
    return out, state


@pytest.mark.parametrize("quick", [True, False], ids=["quick gelu", "gelu"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_outputs_and_gradients_equal_the_statement(training, quick):
    tower, network, features = build(quick=quick)
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    tower, network, features = build(**shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_a_twin_apart():
    tower, network, features = build()
    expected, _ = truth(tower, network, features, quick=True)
    assert oracle.difference(network(features), expected) > 1e-4


def test_the_towers_weights_are_taken_over_and_not_copied():
    tower, network, _ = build()
    storages = {parameter.data_ptr() for parameter in tower.parameters()}
    assert {parameter.data_ptr() for parameter in network.parameters()} == storages


@pytest.mark.parametrize("model", ["ViT-B-16", "EVA02-B-16", "EVA02-E-14", "EVA01-g-14"])
def test_everything_trained_gets_a_gradient_and_the_projection_is_not_trained(model):
    tower = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}, precision="fp32").build("meta")
    network = FullSpec().build(tower, frames=1)
    video = torch.empty(1, 1, 3, 224, 224, dtype=torch.uint8, device="meta")
    network(oracle.own_features(tower, video)).sum().backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert without == frozen
    assert {name.removeprefix(VISUAL) for name in frozen} <= PROJECTIONS
    assert frozen


def test_a_copy_computes_with_its_own_weights():
    """A moving average of the weights is a copy, and must not run the weights under training."""
    _, network, features = build()
    other = copy.deepcopy(network)
    before = other(features)
    oracle.perturb(network, seed=9)
    assert torch.equal(other(features), before)
    assert not torch.equal(network(features), before)


def test_autocast_reaches_the_tower():
    _, network, features = build()
    whole = network(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(features)
    assert half.dtype == torch.float32
    assert 0 < oracle.difference(half, whole.double()) < 0.05

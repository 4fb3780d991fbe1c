"""The attentive probe against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import attentive_statement as statement
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.networks.contract import FrozenFeatures

CASES = {
    "plain": {},
    "deep": {"layers": 3},
    "queries": {"queries": 4},
    "no positions": {"temporal_positions": False},
    "one head": {"heads": 1},
}


def build(options, *, frames=3, batch=2, width=24, **shape):
    tower = oracle.make_tower(width=width, device="meta", **shape)
    spec = AttentiveSpec.model_validate(options)
    (tap,) = spec.reads(tower.shape, frames=frames).tokens
    with seeded(3):
        network = spec.build(tower, frames=frames)
        tokens = {tap: torch.randn(batch * frames, tower.shape.tokens, width)}
    oracle.perturb(network, seed=5)
    return network, FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, tokens)


def truth(network, features, *, without=""):
    state = oracle.double(network, trains=True)
    out = statement.attentive(
        features.tokens[network.tap].double(),
        {name: tensor for name, tensor in state.items() if name != without},
        layers=len(network.layers),
        heads=network.layers[0].heads,
        frames=network.frames,
    )
    return out, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    network, features = build(CASES[case])
    network.train(training)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    network, features = build({"layers": 2}, **shape)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_a_twin_apart():
    network, features = build({})
    expected, _ = truth(network, features, without="positions_TD")
    assert oracle.difference(network(features), expected) > 1e-3


@pytest.mark.parametrize("positions", [True, False], ids=["positions", "none"])
def test_the_order_of_frames_is_seen_with_positions_alone(positions):
    network, features = build({"temporal_positions": positions})
    turned = {tap: tokens.unflatten(0, (2, 3)).flip(1).flatten(0, 1) for tap, tokens in features.tokens.items()}
    other = network(FrozenFeatures(features.video_BTCHW, features.normalise, features.layout, turned))
    assert bool(oracle.difference(other, network(features).double()) > 1e-3) == positions


def test_heads_must_divide_the_width():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).shape()
    with pytest.raises(ValueError, match="does not divide into 7 heads"):
        AttentiveSpec(heads=7).reads(tower, frames=8)


def test_initial_values():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).build("meta")
    with seeded(0):
        network = AttentiveSpec(queries=4).build(tower, frames=8)
    assert network.layers[0].heads == 12
    assert not network.positions_TD.any()
    assert network.queries_QD.detach().std().item() == pytest.approx(0.02, rel=0.05)
    for name, parameter in network.layers.named_parameters():
        if parameter.ndim == 2:
            assert parameter.detach().std().item() == pytest.approx(0.02, rel=0.02), name

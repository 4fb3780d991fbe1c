"""Ladder side-tuning against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import lst_statement as statement
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.feature_request import EMBEDDING
from side4video.models.methods.lst import LSTSpec
from side4video.models.networks.contract import FrozenFeatures

CASES = {"all": {}, "half": {"layers": 2}, "wide": {"reduction": 1}, "one head": {"heads": 1}}


def build(options, *, frames=3, batch=2, width=24, depth=4, **shape):
    tower = oracle.make_tower(width=width, depth=depth, device="meta", **shape)
    spec = LSTSpec.model_validate({"reduction": 2, **options})
    with seeded(3):
        network = spec.build(tower, frames=frames)
        tokens = {
            tap: torch.randn(batch * frames, tower.shape.tokens, width)
            for tap in sorted(spec.reads(tower.shape, frames=frames).tokens)
        }
    oracle.perturb(network, seed=5)
    return network, FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, tokens)


def truth(network, features, **twin):
    state = oracle.double(network, trains=True)
    heads, frames = network.rungs[0].attention.heads, network.frames
    tokens = {tap: tokens.double() for tap, tokens in features.tokens.items()}
    return statement.lst(tokens, state, **{"taps": network.taps, "heads": heads, "frames": frames, **twin}), state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    network, features = build(CASES[case])
    network.train(training)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    network, features = build({"heads": 1}, **shape)
    expected, state = truth(network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_twins_apart():
    """With a plain sigmoid, or with a rung fed by another block, it is another network."""
    network, features = build({})
    for twin in ({"temperature": 1.0}, {"taps": (0, 2, 1, 3)}):
        expected, _ = truth(network, features, **twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_the_order_of_frames_cannot_be_seen():
    network, features = build({})
    turned = {tap: tokens.unflatten(0, (2, 3)).flip(1).flatten(0, 1) for tap, tokens in features.tokens.items()}
    other = network(FrozenFeatures(features.video_BTCHW, features.normalise, features.layout, turned))
    torch.testing.assert_close(network(features), other, rtol=1e-5, atol=1e-6)


def test_taps_and_what_does_not_fit():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).shape()
    assert LSTSpec(layers=4).taps(tower) == (2, 5, 8, 11)
    assert LSTSpec().reads(tower, frames=8).tokens == frozenset(range(12)) | {EMBEDDING}
    assert LSTSpec().dim(tower) == 96
    with pytest.raises(ValueError, match="more than the backbone's 12 blocks"):
        LSTSpec(layers=13).reads(tower, frames=8)
    with pytest.raises(ValueError, match="not divisible by 7"):
        LSTSpec(reduction=7).reads(tower, frames=8)
    with pytest.raises(ValueError, match="does not divide into 5 heads"):
        LSTSpec(heads=5).reads(tower, frames=8)


def test_gates_start_at_a_half():
    tower = oracle.make_tower(device="meta")
    network = LSTSpec(reduction=2, heads=1).build(tower, frames=2)
    assert [float(torch.sigmoid(rung.gate.detach())) for rung in network.rungs] == [0.5] * 3

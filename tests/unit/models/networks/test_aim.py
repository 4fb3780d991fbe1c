"""AIM against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import aim_statement as statement
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.layers.drop_path import DropPath
from side4video.models.methods.aim import AIMSpec

CASES = {
    "two": ({}, {}),
    "one": ({"temporal_adapters": 1}, {}),
    "scaled": ({"scale": 0.5}, {}),
    "quick gelu": ({}, {"quick": True}),
}


def build(options, *, frames=3, batch=2, size=12, moved=True, **shape):
    tower = oracle.make_tower(size=size, **shape)
    spec = AIMSpec.model_validate({"dropout": 0.0, "drop_path": 0.0, **options})
    with seeded(3):
        network = spec.build(tower, frames=frames)
    if moved:
        oracle.perturb(network, seed=5)
    return tower, network, oracle.own_features(tower, oracle.make_video(batch=batch, frames=frames, size=size))


def truth(tower, network, features, **twin):
    state = oracle.double(network, trains=True)
    options = {"scale": network.blocks[0].scale, **twin}
    out = statement.aim(
        tower.normalise(features.video_BTCHW).double(),
        oracle.double(tower.trunk.visual, trains=False),
        state,
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        **options,
    )
    return out, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    options, shape = CASES[case]
    tower, network, features = build(options, **shape)
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    tower, network, features = build({}, **shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_twins_apart():
    """With a skip around the adapter beside the MLP, or at another scale, it is another network."""
    tower, network, features = build({})
    for twin in ({"joint_skip": True}, {"scale": 0.5}):
        expected, _ = truth(tower, network, features, **twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_a_new_student_is_the_frozen_tower():
    tower, network, features = build({}, moved=False)
    tokens = tower(features.normalise(features.video_BTCHW).flatten(0, 1), [tower.shape.depth - 1])
    pooled_BTD = tower.pool(tokens[tower.shape.depth - 1]).unflatten(0, (2, 3))
    torch.testing.assert_close(network(features), pooled_BTD.mean(1), rtol=1e-5, atol=1e-6)


def test_the_final_norm_is_a_trained_copy_in_fp32():
    tower = oracle.make_tower(precision="bf16")
    network = AIMSpec().build(tower, frames=3)
    theirs = tower.trunk.visual.ln_post
    assert network.final_norm.weight.dtype == torch.float32
    assert network.final_norm.weight.requires_grad
    assert torch.equal(network.final_norm.weight, theirs.weight.float())
    assert torch.equal(network.final_norm.bias, theirs.bias.float())
    with torch.no_grad():
        network.final_norm.weight.add_(1)
    assert not torch.equal(network.final_norm.weight, theirs.weight.float())


def test_half_precision_comes_from_the_tower_and_autocast():
    tower = oracle.make_tower(precision="bf16")
    network = AIMSpec(dropout=0.0, drop_path=0.0).build(tower, frames=3)
    oracle.perturb(network, seed=5)
    features = oracle.own_features(tower, oracle.make_video())
    expected, _ = truth(tower, network, features)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found = network(features)
        assert found.dtype == torch.float32
        assert oracle.difference(found, expected) < 0.05
        found.sum().backward()


def test_paths_are_dropped_more_often_the_deeper_and_in_training_alone():
    _, network, features = build({"drop_path": 0.6}, batch=3)
    assert [block.drop_path.rate for block in network.blocks] == pytest.approx([0.0, 0.3, 0.6])
    torch.manual_seed(0)
    first = network.train()(features)
    assert not torch.equal(first, network(features))
    torch.manual_seed(0)
    assert torch.equal(first, network(features))
    network.eval()
    assert torch.equal(network(features), network(features))


def test_a_dropped_path_is_zero_for_a_whole_clip_and_right_on_average():
    path = DropPath(0.25)
    torch.manual_seed(0)
    found = path(torch.ones(4000, 2, 3))
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert bool((found == found[:, :1, :1]).all())
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(path.eval()(torch.ones(4)), torch.ones(4))


def test_towers_that_it_cannot_use_are_refused():
    for model in ("EVA02-B-16", "EVA02-E-14"):
        shape = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}).shape()
        with pytest.raises(ValueError, match="attention over time"):
            AIMSpec().reads(shape, frames=8)
    shape = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).shape()
    with pytest.raises(ValueError, match="not divisible by 7"):
        AIMSpec(reduction=7).reads(shape, frames=8)


def test_initial_values_are_the_authors():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).build("meta")
    with seeded(0):
        network = AIMSpec().build(tower, frames=8)
    block = network.blocks[0]
    for adapter in (block.temporal_in, block.temporal_out, block.spatial, block.joint):
        assert adapter.enter.weight.shape == (192, 768)
        assert adapter.enter.weight.detach().std().item() == pytest.approx(0.02, rel=0.02)
        assert not any(tensor.any() for tensor in (adapter.enter.bias, adapter.leave.weight, adapter.leave.bias))
    assert not network.positions_TD.any()
    assert AIMSpec().drop_path == 0.2
    assert network.dropout.p == 0.5

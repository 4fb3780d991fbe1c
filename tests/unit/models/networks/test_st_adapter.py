"""ST-Adapter against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import oracle
import st_adapter_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.methods.st_adapter import STAdapterSpec

CASES = {
    "pre-mlp": ({}, {}),
    "both": ({"positions": "both"}, {}),
    "quick gelu": ({}, {"quick": True}),
}


def build(options, *, frames=3, batch=2, size=12, dropout=0.0, moved=True, **shape):
    tower = oracle.make_tower(size=size, **shape)
    spec = STAdapterSpec.model_validate({"dim": 10, "dropout": dropout, **options})
    with seeded(3):
        network = spec.build(tower, frames=frames)
    if moved:
        oracle.perturb(network, seed=5)
    return tower, network, oracle.own_features(tower, oracle.make_video(batch=batch, frames=frames, size=size))


def truth(tower, network, features, *, positions=None, adapts_cls=False):
    state = oracle.double(network, trains=True)
    out = statement.st_adapter(
        tower.normalise(features.video_BTCHW).double(),
        oracle.double(tower.trunk.visual, trains=False),
        state,
        positions=positions or ("both" if network.before_attention else "pre-mlp"),
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        adapts_cls=adapts_cls,
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
    tower, network, features = build({"positions": "both"}, **shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_twins_apart():
    """With [CLS] adapted too, or without the adapters in front of attention, it is another network."""
    tower, network, features = build({"positions": "both"})
    for twin in ({"adapts_cls": True}, {"positions": "pre-mlp"}):
        expected, _ = truth(tower, network, features, **twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_a_new_student_is_the_frozen_tower():
    for positions in ("pre-mlp", "both"):
        tower, network, features = build({"positions": positions}, moved=False)
        tokens_NPD = tower(features.normalise(features.video_BTCHW).flatten(0, 1), [tower.shape.depth - 1])
        last_NPD = tokens_NPD[tower.shape.depth - 1]
        mean_BPD = last_NPD.unflatten(0, (2, 3)).mean(1)
        torch.testing.assert_close(network(features), tower.pool(mean_BPD), rtol=1e-5, atol=1e-6)


def test_what_the_last_adapter_learns_does_not_reach_the_head():
    """It changes patches, and the MLP behind it mixes no tokens: its gradient is there, and zero."""
    _, network, features = build({})
    network(features).square().sum().backward()
    for index, adapter in enumerate(network.before_perceptron):
        moves = [bool(parameter.grad.any()) for parameter in adapter.parameters()]
        assert all(moves) if index < len(network.before_perceptron) - 1 else not any(moves)


def test_dropout_is_on_the_features_and_in_training_alone():
    _, network, features = build({}, dropout=0.5, batch=3)
    torch.manual_seed(0)
    dropped = network.train()(features)
    whole = network.eval()(features)
    assert 0.2 < float((dropped == 0).float().mean()) < 0.8
    torch.testing.assert_close(dropped[dropped != 0], 2 * whole[dropped != 0])


def test_half_precision_comes_from_the_tower_and_autocast():
    """A bf16 tower keeps its tokens in bf16; adapters are fp32 and work without autocast too."""
    tower = oracle.make_tower(precision="bf16")
    network = STAdapterSpec(dim=10, dropout=0.0).build(tower, frames=3)
    oracle.perturb(network, seed=5)
    features = oracle.own_features(tower, oracle.make_video())
    expected, _ = truth(tower, network, features)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found = network(features)
        assert found.dtype == torch.float32
        assert oracle.difference(found, expected) < 0.05
        found.sum().backward()


def test_it_works_inside_an_eva_tower():
    """Post-norm blocks, rotary positions: whatever the branches are, a new student is the tower."""
    for model in ("EVA02-B-16", "EVA02-E-14"):
        tower = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}).build("meta")
        with torch.device("meta"):
            network = STAdapterSpec().build(tower, frames=2)
        video = torch.empty(1, 2, 3, 224, 224, dtype=torch.uint8, device="meta")
        found = network(oracle.own_features(tower, video))
        assert found.shape == (1, tower.shape.width)
        found.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_initial_values_are_the_authors():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).build("meta")
    with seeded(0):
        adapter = STAdapterSpec().build(tower, frames=8).before_perceptron[0]
    zeros = (adapter.mix.weight_3D, adapter.mix.bias_D, adapter.enter.bias, adapter.leave.bias)
    assert not any(tensor.any() for tensor in zeros)
    # Torch's default for a Linear: uniform within 1/sqrt(inputs).
    assert adapter.enter.weight.detach().std().item() == pytest.approx((3 * 768) ** -0.5, rel=0.02)
    assert adapter.leave.weight.detach().std().item() == pytest.approx((3 * 384) ** -0.5, rel=0.02)

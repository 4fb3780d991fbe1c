"""DiST's branches against an independent float64 statement of them, outputs and gradients."""

import pytest
import torch

import dist_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.backbones.vit import ViTSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.dist import DiSTSpec
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.dist import IntegrationBlock

CASES = {
    "two frames to one": {},
    "every frame": {"alpha": 1},
    "four frames to one": {"alpha": 4},
    "two heads": {"dim": 128},
    "one pooling layer": {"pooling_layers": 1},
    "four pooling layers": {"pooling_layers": 4},
}


def backbone(size=12, patch=4, depth=3, width=24):
    return ViTSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=depth,
        head_width=8,
        output_dim=20,
        weights={"kind": "random", "seed": 1},
        precision="fp32",
    )


def build(options, *, frames=4, batch=2, **tower):
    spec = DiSTSpec.model_validate({"dim": 64, "temporal_dim": 12, **options})
    meta_model = backbone(**tower).build("meta")
    shape = meta_model.shape
    reads = spec.reads(shape, frames=frames)
    with seeded(3):
        network = spec.build(meta_model, frames=frames)
        # Initial values are so small that most branches would hardly count.
        for name, parameter in network.named_parameters():
            parameter.data.add_((0.2 if "norm" in name else 0.1) * torch.randn_like(parameter))
        video = torch.randn(batch, frames, 3, shape.image_size, shape.image_size)
        tokens = {
            tap: torch.randn(batch * frames // spec.alpha, shape.tokens, shape.width) for tap in sorted(reads.tokens)
        }
    return spec, network, FrozenFeatures(video, lambda video: video, shape, tokens), shape


def truth(spec, network, features, shape):
    state = {name: tensor.detach().double().requires_grad_() for name, tensor in network.state_dict().items()}
    out = statement.dist(
        features.normalise(features.video_BTCHW).double(),
        {tap: tokens.double() for tap, tokens in features.tokens.items()},
        state,
        alpha=spec.alpha,
        patch_size=shape.patch_size,
        pooling_layers=spec.pooling_layers,
    )
    return out, state


def differs(found, expected):
    return float((found.double() - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    spec, network, features, shape = build(CASES[case])
    network.train(training)
    expected, state = truth(spec, network, features, shape)
    found = network(features)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert differs(found, expected) < 2e-5
    largest = max(float(tensor.grad.abs().max()) for tensor in state.values() if tensor.grad is not None)
    for name, parameter in network.named_parameters():
        if state[name].grad is None:
            assert name.startswith("stages.2.to_temporal."), name
            assert not parameter.grad.any()
            continue
        scale = max(float(state[name].grad.abs().max()), 0.01 * largest)
        assert float((parameter.grad.double() - state[name].grad).abs().max()) < 2e-4 * scale, name


@pytest.mark.parametrize(
    "sizes",
    [
        {"frames": 2},
        {"frames": 1, "options": {"alpha": 1}},
        {"frames": 6, "batch": 1, "depth": 1},
        {"frames": 2, "size": 21, "patch": 7, "width": 40, "batch": 3},
    ],
    ids=["the tower sees one", "one frame", "one clip, one block", "odd sizes"],
)
def test_odd_shapes(sizes):
    spec, network, features, shape = build(sizes.pop("options", {}), **sizes)
    found = network(features)
    assert differs(found, truth(spec, network, features, shape)[0]) < 2e-5
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_statement_tells_twins_apart():
    """A network with one detail turned around is another."""
    spec, network, features, shape = build({})
    found = network(features)
    for name in (
        "stem.convolution.weight_KOI",
        "stages.0.temporal.over_time.weight_KOI",
        "stages.1.integration.temporal_mix.weight_KOI",
        "stages.1.class_TI",
        "pooling.0.positions_TI",
        "stages.0.temporal.over_space.weight",
        "stages.0.to_temporal.weight",
    ):
        twin = build({})[1]
        parameter = twin.get_parameter(name)
        parameter.data.copy_(parameter.data.flip(-1) if name.endswith("over_space.weight") else parameter.data.flip(0))
        assert differs(found, truth(spec, twin, features, shape)[0]) > 1e-3, name
    other = spec.model_copy(update={"pooling_layers": 1})
    assert differs(found, truth(other, network, features, shape)[0]) > 1e-3


def test_the_tower_sees_the_even_frames():
    """From frames to features, through a real small tower."""
    spec, network, _, _ = build({})
    tower = backbone().build("cpu")
    video = torch.randint(0, 256, (2, 4, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = frozen_features(tower, video, spec.reads(tower.shape, frames=4))
    assert differs(network(features), truth(spec, network, features, tower.shape)[0]) < 2e-5
    seen = tower(video[:, ::2].flatten(0, 1), [2])[2]
    torch.testing.assert_close(features.read(2), seen)


def test_every_trained_tensor_has_a_gradient():
    """Else workers would wait for the one that leads nowhere; a network that leaves it out is caught."""
    _, network, features, _ = build({})
    network(features).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert idle == ["stages.2.to_temporal.weight", "stages.2.to_temporal.bias"]


def test_bfloat16_error_is_no_worse_than_the_plain_statement_in_bfloat16():
    spec, network, features, shape = build({"dim": 128}, frames=8, size=32, patch=8, width=64, batch=4)
    expected, _ = truth(spec, network, features, shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(features)
        plain = statement.dist(
            features.video_BTCHW,
            dict(features.tokens),
            {name: tensor.detach() for name, tensor in network.state_dict().items()},
            alpha=spec.alpha,
            patch_size=shape.patch_size,
            pooling_layers=spec.pooling_layers,
        )
    # Processors that multiply in bf16 by themselves round at other places: both errors vary by a third.
    assert (found.double() - expected).norm() <= 1.5 * (plain.double() - expected).norm()


def test_reversing_time_changes_the_output():
    _, network, features, _ = build({})
    flipped = FrozenFeatures(
        features.video_BTCHW.flip(1),
        features.normalise,
        features.layout,
        {tap: tokens.unflatten(0, (2, 2)).flip(1).flatten(0, 1) for tap, tokens in features.tokens.items()},
    )
    assert (network(features) - network(flipped)).abs().max() > 1e-3


def test_reads_every_block_of_every_second_frame():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random"}).shape()
    assert DiSTSpec().reads(tower, frames=16) == FeatureRequest(tokens=frozenset(range(12)), every=2)
    assert DiSTSpec().output_dim(tower) == 512
    with pytest.raises(ValueError, match="15 frames, and the tower sees one of 2"):
        DiSTSpec().reads(tower, frames=15)
    with pytest.raises(ValueError, match="multiples of 64"):
        DiSTSpec(dim=100)


def test_initial_values_are_the_authors():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random"}).build("meta")
    with seeded(0):
        network = DiSTSpec().build(tower, frames=16)
    stage, pool = network.stages[0], network.pooling[0]
    for tensor in (
        network.stem.convolution.weight_KOI,
        network.clip_query_I,
        stage.down.weight,
        stage.class_TI,
        stage.temporal.over_time.weight_KOI,
        stage.temporal.over_space.weight,
        stage.integration.temporal_leave.weight,
        pool.positions_TI,
        pool.over_space.leave.weight,
        pool.over_time.narrow.weight,
    ):
        assert tensor.detach().std().item() == pytest.approx(0.02, rel=0.08)
    # Torch's attention: Xavier over query, key and value as one matrix.
    assert pool.over_time.weight_3II.abs().max().item() == pytest.approx((6 / (4 * 384)) ** 0.5, rel=0.01)
    assert network.projection_IE.detach().std().item() == pytest.approx(384**-0.5, rel=0.02)
    for name, parameter in network.named_parameters():
        if name.endswith(("bias", "bias_O", "bias_3I")):
            assert not parameter.any(), name


@pytest.mark.parametrize(("dim", "temporal_dim"), [(64, 32), (128, 32), (192, 16)])
def test_the_temporal_perceptron_is_a_quarter_of_the_branch_wide(dim, temporal_dim):
    block = IntegrationBlock(dim)
    assert block.temporal_enter.weight.shape == (dim // 4, dim)
    assert block.temporal_leave.weight.shape == (dim, dim // 4)
    # Version 0.1.0 stored the width of the temporal branch.
    stored = {
        name: torch.randn([temporal_dim if size == dim // 4 else size for size in value.shape])
        for name, value in block.state_dict().items()
    }
    block.load_state_dict(stored)
    assert all(torch.equal(value, stored[name]) for name, value in block.state_dict().items())
    assert block(torch.randn(2, 4, 5, dim)).shape == (2, 4, 5, dim)

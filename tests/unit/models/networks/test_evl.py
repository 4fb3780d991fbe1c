"""EVL's decoder against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import evl_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.backbones.vit import ViTSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.evl import EVLSpec
from side4video.models.networks.contract import FrozenFeatures

BARE = {"temporal_convolution": False, "temporal_positions": False, "temporal_attention": False}
CASES = {
    "all": {},
    "one layer": {"layers": 1},
    "without convolution": {"temporal_convolution": False},
    "without positions": {"temporal_positions": False},
    "without attention": {"temporal_attention": False},
    "bare": BARE,
    "wider": {"mlp_ratio": 2},
}


def backbone(size=12, patch=4, depth=3, width=24):
    weights = {"kind": "random", "seed": 1}
    return ViTSpec(
        image_size=size, patch_size=patch, width=width, layers=depth, head_width=8, weights=weights, precision="fp32"
    )


def build(options, *, frames=3, batch=2, **tower):
    spec = EVLSpec.model_validate({"layers": 2, "dropout": 0.0, **options})
    meta_model = backbone(**tower).build("meta")
    shape = meta_model.shape
    reads = spec.reads(shape, frames=frames)
    with seeded(3):
        network = spec.build(meta_model, frames=frames)
        # The query, the positions and the tables start at zero, where most mistakes do not show.
        for parameter in network.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        video = torch.zeros(batch, frames, 3, shape.image_size, shape.image_size, dtype=torch.uint8)
        tokens = {tap: torch.randn(batch * frames, shape.tokens, shape.width) for tap in reads.tokens}
        size = (batch * frames, shape.heads, shape.tokens, shape.width // shape.heads)
        attention = {tap: (2 * torch.randn(size), 2 * torch.randn(size)) for tap in reads.attention}
    return spec, network, FrozenFeatures(video, lambda video: video, shape, tokens, attention), shape


def truth(spec, network, features, shape):
    state = {name: tensor.detach().double().requires_grad_() for name, tensor in network.state_dict().items()}
    out = statement.evl(
        {tap: tokens.double() for tap, tokens in features.tokens.items()},
        {tap: (query.double(), key.double()) for tap, (query, key) in features.attention.items()},
        state,
        taps=spec.taps(shape),
        frames=features.video_BTCHW.shape[1],
        heads=shape.heads,
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
    largest = max(float(tensor.grad.abs().max()) for tensor in state.values())
    for name, parameter in network.named_parameters():
        # A key's bias has no gradient at all (softmax does not see it): rounding is measured against the others'.
        scale = max(float(state[name].grad.abs().max()), 0.01 * largest)
        assert float((parameter.grad.double() - state[name].grad).abs().max()) < 2e-4 * scale, name


@pytest.mark.parametrize(
    "sizes",
    [{"frames": 1}, {"frames": 5, "batch": 1}, {"frames": 2, "size": 21, "patch": 7, "width": 40, "batch": 3}],
    ids=["one frame", "one clip", "odd sizes"],
)
def test_odd_shapes(sizes):
    spec, network, features, shape = build({}, **sizes)
    expected, _ = truth(spec, network, features, shape)
    found = network(features)
    assert differs(found, expected) < 2e-5
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_statement_tells_twins_apart():
    """A network that differs in one detail is another: time turned around in each part, and offsets turned around."""
    spec, network, features, shape = build({})
    found = network(features)
    for name, turn in {
        "convolution": lambda state: state["stages.0.convolution.weight_3D"].data.copy_(
            state["stages.0.convolution.weight_3D"].data.flip(0)
        ),
        "lookup": lambda state: state["stages.1.lookup.before_RD"].data.copy_(state["stages.1.lookup.after_RD"].data),
        "offsets": lambda state: state["stages.1.lookup.after_RD"].data.copy_(
            state["stages.1.lookup.after_RD"].data.flip(0)
        ),
    }.items():
        twin = build({})[1]
        turn(twin.state_dict(keep_vars=True))
        assert differs(found, truth(spec, twin, features, shape)[0]) > 1e-3, name


def test_queries_and_keys_of_the_tower_are_those_that_are_read():
    """From frames to features, through a real small tower."""
    spec, network, _, _ = build({}, frames=2)
    tower = backbone().build("cpu")
    video = torch.randint(0, 256, (2, 2, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = frozen_features(tower, video, spec.reads(tower.shape, frames=2))
    assert differs(network(features), truth(spec, network, features, tower.shape)[0]) < 2e-5


def test_dropout_is_there_in_training_alone():
    _, network, features, _ = build({"dropout": 0.5})
    network.eval()
    assert torch.equal(network(features), network(features))
    network.train()
    with seeded(0):
        assert differs(network(features), network(features).double()) > 1e-3


def test_dropout_is_between_the_activation_and_the_second_layer():
    _, network, features, _ = build({"dropout": 0.5})
    seen = {}
    decoder = network.train().stages[0].decoder
    decoder.dropout.register_forward_hook(lambda _, inputs, output: seen.update(before=inputs[0], after=output))
    decoder.narrow.register_forward_hook(lambda _, inputs, output: seen.update(narrow=inputs[0]))
    with seeded(0):
        network(features)
    kept = seen["after"] != 0
    assert 0.2 < kept.float().mean() < 0.8
    torch.testing.assert_close(seen["after"][kept], 2 * seen["before"][kept])
    assert seen["narrow"] is seen["after"]


def test_no_more_than_the_mean_maps_are_kept():
    """Of 3 heads, queries, keys and their maps backward needs nothing but a mean map a table: two for each stage."""
    _, network, features, _ = build({}, batch=1)
    held = []

    def keep(tensor):
        held.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(features)
    maps = [shape for shape in held if shape.count(9) == 2]
    assert len([shape for shape in maps if 8 not in shape and 24 not in shape and 2 in shape]) == 2 * 2
    assert not [shape for shape in held if 3 in shape and shape.count(9) == 2 and 24 not in shape], "maps of heads"


def test_bfloat16_error_is_no_worse_than_the_plain_statement_in_bfloat16():
    spec, network, features, shape = build({}, frames=4, size=32, patch=8, width=64, batch=4)
    expected, _ = truth(spec, network, features, shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(features)
        plain = statement.evl(
            dict(features.tokens),
            dict(features.attention),
            {name: tensor.detach() for name, tensor in network.state_dict().items()},
            taps=spec.taps(shape),
            frames=4,
            heads=shape.heads,
        )
    assert (found.double() - expected).norm() <= 1.25 * (plain.double() - expected).norm()


def test_reversing_time_changes_the_output():
    _, network, features, _ = build({}, frames=4)

    def turned(tensor):
        return tensor.unflatten(0, (2, 4)).flip(1).flatten(0, 1)

    flipped = FrozenFeatures(
        features.video_BTCHW,
        features.normalise,
        features.layout,
        {tap: turned(tokens) for tap, tokens in features.tokens.items()},
        {tap: (turned(query), turned(key)) for tap, (query, key) in features.attention.items()},
    )
    assert (network(features) - network(flipped)).abs().max() > 1e-3


def test_reads_the_last_blocks():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random"}).shape()
    last = frozenset({8, 9, 10, 11})
    assert EVLSpec(layers=4).reads(tower, frames=8) == FeatureRequest(tokens=last, attention=last)
    assert EVLSpec(layers=4, temporal_attention=False).reads(tower, frames=8) == FeatureRequest(tokens=last)
    assert EVLSpec().output_dim(tower) == 768
    with pytest.raises(ValueError, match="more than the backbone's 12 blocks"):
        EVLSpec(layers=13).reads(tower, frames=8)


def test_a_tower_that_hides_its_queries_is_refused():
    tower = OpenCLIPSpec(model="EVA02-B-16", weights={"kind": "random"}).shape()
    with pytest.raises(ValueError, match="reads queries and keys"):
        EVLSpec().reads(tower, frames=8)
    EVLSpec(temporal_attention=False).reads(tower, frames=8)


def test_initial_values_are_the_authors():
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random"}).build("meta")
    with seeded(0):
        network = EVLSpec(layers=1).build(tower, frames=8)
    stage = network.stages[0]
    for tensor in (network.query_D, stage.positions_TD, stage.lookup.before_RD, stage.lookup.after_RD):
        assert not tensor.any()
    for layer, fans in ((stage.decoder.key, 2 * 768), (stage.decoder.widen, 5 * 768)):
        assert layer.weight.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.01)  # Xavier's uniform bound
        assert layer.weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.01)
    assert not stage.decoder.leave.bias.any()
    assert stage.decoder.narrow.bias.std().item() == pytest.approx(1e-6, rel=0.1)
    assert stage.convolution.weight_3D.abs().max().item() == pytest.approx(3**-0.5, rel=0.01)
    assert stage.lookup.before_RD.shape == (27**2, 768)

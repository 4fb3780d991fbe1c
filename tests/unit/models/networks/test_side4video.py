"""The side network against an independent float64 statement of it, outputs and gradients."""

import math

import pytest
import torch

import side4video_statement as statement
from plain_side4video import PlainSide4Video
from side4video.core.seeds import seeded
from side4video.models.backbones.vit import ViTSpec
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.networks.contract import FrozenFeatures, Neighbours

CASES = {
    "paper": {},
    "authors": {"preset": "authors"},
    "without shift": {"cls_shift": False},
    "without a shifted token": {"shifted_token": "none"},
    "pooled shift": {"shifted_token": "pooled"},
    "pooled shift, authors-eva": {"shifted_token": "pooled", "preset": "authors-eva"},
    "mean shift": {"shifted_token": "mean"},
    "mean shift, the tower's [CLS]": {"shifted_token": "mean", "representation": "vit-cls"},
    "bare": {"stem_norm": "none", "spatial_embedding": "none", "final_norm": "none"},
    "top": {"fusion": "top"},
    "two heads": {"dim": 128},
    "temporal attention": {"temporal": "attention"},
    "no temporal module": {"temporal": "none"},
    "temporal gate": {"temporal_gate": "difference"},
    "temporal gate, authors, extra [CLS]": {
        "temporal_gate": "difference",
        "preset": "authors",
        "representation": "extra-cls",
    },
    "temporal gate, EVA": {"temporal_gate": "difference", "preset": "authors-eva"},
    "the tower's [CLS]": {"representation": "vit-cls"},
    "the tower's [CLS], authors, no shift": {"representation": "vit-cls", "preset": "authors", "cls_shift": False},
    "an extra [CLS]": {"representation": "extra-cls"},
    "gate": {"mixing": "gate"},
    "EVA": {"preset": "authors-eva"},
    "EVA, temporal attention, extra [CLS], gate": {
        "preset": "authors-eva",
        "temporal": "attention",
        "representation": "extra-cls",
        "mixing": "gate",
    },
    "listed blocks": {"fusion": [0, 3], "layers": 2},
    "stem of differences": {"stem": "differences"},
    "TDS-CLIP": {"stem": "differences", "temporal_gate": "difference", "preset": "authors"},
}


def build(options, *, frames=3, size=12, patch=4, layers=2, depth=4, width=24, batch=2, seed=0):
    backbone = ViTSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=depth,
        head_width=8,
        weights={"kind": "random", "seed": 1},
    )
    spec = Side4VideoSpec.model_validate({"layers": layers, "dim": 64, **options})
    tower = backbone.shape()
    meta_model = backbone.build("meta")
    with seeded(3 + seed):
        network = spec.build(meta_model, frames=frames)
        # Norms start at 1 and 0, where half of the mistakes do not show.
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
        video = torch.randn(batch, frames, 3, size, size)
        taps = spec.taps(tower)
        tokens = {tap: torch.randn(batch * frames, tower.tokens, width) for tap in taps}
        pooled = torch.randn(batch, frames, width) if spec.shifts(tower) == "pooled" else None
        around = Neighbours(torch.randn(batch, frames, 4, 3, size, size), differences)
    neighbours = around if spec.stem == "differences" else None
    features = FrozenFeatures(video, lambda video: video, tower, tokens, pooled_BTD=pooled, neighbours=neighbours)
    return spec, network, features, taps


def differences(frames_BTKCHW):
    return frames_BTKCHW[:, :, 1:] - frames_BTKCHW[:, :, :-1]


def truth(spec, network, features, taps):
    state = {name: tensor.detach().double().clone() for name, tensor in network.state_dict().items()}
    for name, _ in network.named_parameters():
        state[name].requires_grad_()
    out = statement.side4video(
        features.video_BTCHW.double(),
        {tap: tokens.double() for tap, tokens in features.tokens.items()},
        state,
        taps=taps,
        mixing=spec.mixing,
        temporal_module=spec.temporal,
        temporal_gate=spec.temporal_gate != "none",
        cls_shift=spec.cls_shift,
        shifted_token=spec.shifted_token,
        pooled_BTD=None if features.pooled_BTD is None else features.pooled_BTD.double(),
        representation=spec.representation,
        norms=spec.norms,
        training=network.training,
        around_BTKCHW=None if features.neighbours is None else features.neighbours.frames_BTKCHW.double(),
    )
    return out, state


@pytest.mark.parametrize("recompute", ["none", "selective", "block"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training, recompute):
    spec, network, features, taps = build(CASES[case] | {"recompute": recompute})
    network.train(training)
    expected, state = truth(spec, network, features, taps)
    found = network(features)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert (found.double() - expected).abs().max() < 2e-5 * expected.abs().max()
    largest = max(float(state[name].grad.abs().max()) for name, _ in network.named_parameters())
    for name, parameter in network.named_parameters():
        # A bias in front of a batch norm has no gradient at all: rounding is measured against the others'.
        scale = max(float(state[name].grad.abs().max()), 0.01 * largest)
        assert float((parameter.grad.double() - state[name].grad).abs().max()) < 2e-4 * scale, name


@pytest.mark.parametrize(
    "shape",
    [{"frames": 1}, {"frames": 5, "batch": 1}, {"frames": 2, "size": 21, "patch": 7, "width": 40, "batch": 3}],
    ids=["one frame", "one clip", "odd sizes"],
)
def test_odd_shapes(shape):
    spec, network, features, taps = build({}, **shape)
    network.eval()
    expected, _ = truth(spec, network, features, taps)
    assert (network(features).double() - expected).abs().max() < 2e-5 * expected.abs().max()


def test_the_statement_tells_twins_apart():
    """A network that differs in one detail must fail: here, each in turn is compared with the wrong statement."""
    wrong = [
        ({}, "mixing", "mean"),
        ({}, "cls_shift", False),
        ({}, "shifted_token", "mean"),
        ({"shifted_token": "mean"}, "shifted_token", "class"),
        ({}, "temporal", "none"),
        ({"temporal_gate": "difference"}, "temporal_gate", "none"),
        ({"representation": "vit-cls"}, "representation", "gap"),
    ]
    for options, field, value in wrong:
        spec, network, features, taps = build(options)
        network.eval()
        other = spec.model_copy(update={field: value})
        expected, _ = truth(other, network, features, taps)
        assert (network(features).double() - expected).abs().max() > 1e-3 * expected.abs().max(), field


PRECISE = {"dim": 128, "layers": 3, "frames": 8, "size": 32, "patch": 8, "width": 64, "batch": 4}


def plain_twin(network, features, taps):
    """The same network from library modules, and its parameters by our names."""
    tokens = features.tokens[taps[0]]
    size = network.stem.patch_size
    plain = PlainSide4Video(
        width=tokens.shape[-1], patch_size=size, patches=tokens.shape[1] - 1, taps=taps, dim=network.output_dim
    )
    names = plain.take_weights(network)
    return plain.train(network.training), names


def gradients(network, out):
    network.zero_grad(set_to_none=True)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()


@pytest.mark.parametrize("recompute", ["none", "selective", "block"])
def test_it_is_the_plain_network_of_library_modules(recompute):
    """Outputs and gradients of every tensor, to 1e-5 of the largest of its kind, in fp32."""
    options = {key: value for key, value in PRECISE.items() if key not in ("frames", "size", "patch", "width", "batch")}
    shape = {key: value for key, value in PRECISE.items() if key not in options}
    _, network, features, taps = build(options | {"recompute": recompute}, **shape, layers=3)
    network.train()
    plain, names = plain_twin(network, features, taps)
    found, expected = network(features), plain(features.video_BTCHW, dict(features.tokens))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients(network, found)
    gradients(plain, expected)
    errors, norms = {}, {}
    for name, parameter in network.named_parameters():
        theirs = names[name].grad
        ours = parameter.grad.t() if name.endswith("weight_3D") else parameter.grad
        errors[name], norms[name] = float((ours.reshape(theirs.shape) - theirs).norm()), float(theirs.norm())
    # All tensors as one vector; and each alone, save biases in front of a batch norm: their true gradient is zero.
    whole = math.hypot(*norms.values())
    assert math.hypot(*errors.values()) < 1e-5 * whole
    told = {name: errors[name] / norms[name] for name in errors if norms[name] > 1e-4 * whole}
    assert len(errors) - len(told) == 3
    assert max(told.values()) < 1e-4, told


def rounding(seed):
    """Errors under bf16 autocast against float64 truth: of the output and of all gradients, ours and the plain's."""
    shape = {key: PRECISE[key] for key in ("frames", "size", "patch", "width", "batch")}
    spec, network, features, taps = build({"dim": 128}, **shape, layers=3, seed=seed)
    for tap, tokens in features.tokens.items():
        # As a tower in bf16 gives them: whose rounding they have is not the question here.
        features.tokens[tap] = tokens.bfloat16().float()
    network.train()
    expected, state = truth(spec, network, features, taps)
    gradients(network, expected.float())
    plain, names = plain_twin(network, features, taps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, theirs = network(features), plain(features.video_BTCHW, dict(features.tokens))
    errors = [[float((out.double() - expected).norm().detach()), 0.0] for out in (found, theirs)]
    gradients(network, found.float())
    gradients(plain, theirs.float())
    for name, parameter in network.named_parameters():
        true = state[name].grad
        other = names[name].grad.reshape(true.t().shape).t() if name.endswith("weight_3D") else names[name].grad
        scale = max(float(true.norm()), 1e-3)
        for sums, gradient in zip(errors, (parameter.grad, other), strict=True):
            sums[1] += float((gradient.double().reshape(true.shape) - true).norm()) / scale
    return errors


def test_bfloat16_error_is_no_worse_than_the_plain_networks():
    """The plain network's own error is the measure; one draw more or less is chance, so several are added up."""
    ours, theirs = (sum(torch.tensor(errors) for errors in side) for side in zip(*map(rounding, range(6)), strict=True))
    assert (ours <= 1.15 * theirs).all(), (ours, theirs)


def test_reversing_time_changes_the_output():
    _, network, features, _ = build({}, frames=4)
    network.eval()
    flipped = FrozenFeatures(
        features.video_BTCHW.flip(1),
        features.normalise,
        features.layout,
        {tap: tokens.unflatten(0, (2, 4)).flip(1).flatten(0, 1) for tap, tokens in features.tokens.items()},
    )
    assert (network(features) - network(flipped)).abs().max() > 1e-3


def test_taps():
    from side4video.models.backbones.open_clip import OpenCLIPSpec

    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).shape()
    assert Side4VideoSpec(layers=6, dim=192).taps(tower) == (1, 3, 5, 7, 9, 11)
    assert Side4VideoSpec(layers=4).taps(tower) == (2, 5, 8, 11)
    assert Side4VideoSpec(layers=6, fusion="top").taps(tower) == (6, 7, 8, 9, 10, 11)
    assert Side4VideoSpec(layers=12).taps(tower) == tuple(range(12))
    assert Side4VideoSpec(layers=5).taps(tower)[-1] == 11
    with pytest.raises(ValueError, match="more than the backbone's 12 blocks"):
        Side4VideoSpec(layers=13).taps(tower)


def test_initial_values_are_the_authors():
    from side4video.models.backbones.open_clip import OpenCLIPSpec

    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).build("meta")
    with seeded(0):
        network = Side4VideoSpec(layers=1, dim=320).build(tower, frames=8)
    block, dim = network.blocks[0], 320
    expected = {
        block.attention.query_key_value.weight: dim**-0.5,
        block.attention.leave.weight: dim**-0.5 * 24**-0.5,
        block.perceptron.leave.weight: dim**-0.5 * 24**-0.5,
        block.perceptron.enter.weight: (2 * dim) ** -0.5,
        network.spatial_PD: 0.01,
        block.temporal.enter.weight: dim**-0.5 / 3**0.5,
        network.stem.weight_DC3HW: (3 * 3 * 16 * 16) ** -0.5 / 3**0.5,
    }
    for tensor, deviation in expected.items():
        assert tensor.detach().std().item() == pytest.approx(deviation, rel=0.03)
    assert not block.attention.query_key_value.bias.any()
    assert not block.attention.leave.bias.any()


def test_the_gates_parameters_are_the_authors():
    """TDS-CLIP on ViT-B/16: 12 gates beside the common arm of 12 x 320."""
    counts = []
    for gate in ("none", "difference"):
        _, network, _, _ = build({"dim": 320, "layers": 4, "temporal_gate": gate})
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    assert counts[1] - counts[0] == 4 * 13_480

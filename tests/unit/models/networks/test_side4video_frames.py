"""Side4Video for retrieval (eq. 4) against an independent float64 statement, and its initial values."""

import pytest
import torch

import families
import oracle
import retrieval_toys
import side4video_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.side4video import Side4VideoSpec

CASES = {
    "paper": {},
    "authors": {"preset": "authors"},
    "without shift": {"cls_shift": False},
    "no spatial embedding": {"spatial_embedding": "none"},
    "the tower's [CLS]": {"representation": "vit-cls"},
    "an extra [CLS], authors": {"representation": "extra-cls", "preset": "authors"},
    "temporal attention": {"temporal": "attention"},
    "EVA": {"preset": "authors-eva"},
    "EVA with a norm in front of the mean": {"preset": "authors-eva", "final_norm": "batch"},
}
FRAMES = 3


def build(options, *, family="clip"):
    """The video side, every tensor of it away from the ones and zeros that hide mistakes, and what it reads."""
    if family == "clip":
        tower = families.clip_tower(layers=3)
    else:
        tower = families.eva_tower(family, families.eva_shape(family, depth=3, image_size=16))
    method = Side4VideoSpec.model_validate({"layers": 2, "dim": 64, **options})
    text = retrieval_toys.text_tower(device="meta")
    with seeded(3):
        network = method.build_pair(tower, text, frames=FRAMES).video
    oracle.perturb(network, seed=4)
    with seeded(5):
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
        video = torch.randint(0, 256, (2, FRAMES, 3, 16, 16), dtype=torch.uint8)
    features = frozen_features(tower, video, method.frame_request(tower.shape, frames=FRAMES))
    return method, tower, network, features


def truth(method, tower, network, features, **changes):
    state = oracle.double(network, trains=True)
    options = {
        "taps": method.taps(tower.shape),
        "mixing": method.mixing,
        "temporal_module": method.temporal,
        "cls_shift": method.cls_shift,
        "representation": method.representation,
        "norms": method.norms,
        **changes,
    }
    found = statement.frame_features(
        features.normalise(features.video_BTCHW).double(),
        {tap: tokens.double() for tap, tokens in features.tokens.items()},
        features.class_BTD.double(),
        state,
        epsilon=tower.shape.layer_norm_epsilon,
        training=network.training,
        **options,
    )
    return found, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    method, tower, network, features = build(CASES[case])
    network.train(training)
    expected, state = truth(method, tower, network, features)
    found = network(features)
    assert found.shape == (2, FRAMES, 24)
    oracle.assert_equal(found, expected, network, state)


@pytest.mark.parametrize("recompute", ["none", "selective"])
def test_whatever_is_kept_for_backward(recompute):
    method, tower, network, features = build({"recompute": recompute})
    expected, state = truth(method, tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@pytest.mark.parametrize("family", ["eva-post-norm", "eva-rotary"])
def test_on_an_eva_tower_whose_projection_has_a_bias(family):
    method, tower, network, features = build({"preset": "authors-eva"}, family=family)
    assert network.projection.bias_E is not None
    expected, state = truth(method, tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_frames_are_not_averaged():
    """The mean is over a frame's patches alone: another last frame does not change the first one's feature."""
    _, _, network, features = build({"temporal": "none", "cls_shift": False})
    network.eval()
    before = network(features)
    features.video_BTCHW[:, 2] = 0
    for tokens in features.tokens.values():
        tokens.unflatten(0, (2, FRAMES))[:, 2] = 0
    features.class_BTD[:, 2] = 0
    after = network(features)
    # The stem looks one frame to each side.
    torch.testing.assert_close(after[:, 0], before[:, 0])
    assert (after[:, 2] - before[:, 2]).abs().max() > 1e-3


def without_the_place_of_cls(network):
    with torch.no_grad():
        network.side.spatial_PD[0] = 0


def other_norm(network):
    network.projection.norm.eps = 1.0


def without_up(network):
    with torch.no_grad():
        network.up_dD.zero_()


@pytest.mark.parametrize("spoil", [without_the_place_of_cls, other_norm, without_up])
def test_twins(spoil):
    method, tower, network, features = build({"preset": "authors"})
    expected, _ = truth(method, tower, network, features)
    spoil(network)
    assert oracle.difference(network(features), expected) > 1e-4


@pytest.mark.parametrize(("field", "value"), [("mixing", "add"), ("cls_shift", False), ("temporal_module", "none")])
def test_the_statement_tells_twins_apart(field, value):
    method, tower, network, features = build({"preset": "authors"})
    expected, _ = truth(method, tower, network, features, **{field: value})
    assert oracle.difference(network(features), expected) > 1e-3


# ---- initial values


@pytest.fixture(scope="module")
def fresh():
    backbone = OpenCLIPSpec(model="ViT-B-16-quickgelu", weights={"kind": "random"})
    with seeded(0):
        pair = Side4VideoSpec(layers=1, dim=320, preset="authors").build_pair(
            backbone.build("meta"), backbone.build_text_tower("meta"), frames=12
        )
    return pair.video


def test_initial_values_are_the_authors_for_retrieval(fresh):
    side, dim = fresh.side, 320
    block = side.blocks[0]
    deviations = {
        block.down.projection.weight: 0.02,
        block.temporal.enter.weight: 0.02,
        block.temporal.leave.weight: 0.02,
        block.temporal.mix.weight_3D: dim**-0.5,
        block.attention.query_key_value.weight: dim**-0.5,
        block.attention.leave.weight: 0.02,
        block.perceptron.enter.weight: 0.02,
        block.perceptron.leave.weight: 0.02,
        side.spatial_PD: 0.01,
        side.stem.weight_DC3HW: (3 * 3 * 16 * 16) ** -0.5 / 3**0.5,
    }
    for tensor, deviation in deviations.items():
        assert tensor.detach().std().item() == pytest.approx(deviation, rel=0.05)
        assert abs(tensor.detach().mean().item()) < 4 * deviation * tensor.numel() ** -0.5
    linears = (block.down.projection, block.attention.query_key_value, block.attention.leave)
    for layer in (*linears, block.perceptron.enter, block.perceptron.leave):
        assert not layer.bias.any()
    for convolution_bias in (block.temporal.enter.bias, block.temporal.leave.bias, block.temporal.mix.bias_D):
        assert convolution_bias.any()
    for norm in (side.stem_norm, side.final_norm, block.temporal.norm, block.perceptron_norm, block.attention.norm):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()


def test_up_begins_at_zero_and_every_token_has_a_place(fresh):
    assert fresh.up_dD.shape == (320, 768)
    assert not fresh.up_dD.any()
    assert fresh.side.spatial_PD.shape == (14 * 14 + 1, 320)


def test_on_eva_the_initial_values_are_recognitions():
    """The authors' EVA variant: torch's own, no place for [CLS]."""
    method = Side4VideoSpec(layers=2, dim=64, preset="authors-eva")
    tower = families.clip_tower(device="meta")
    with seeded(0):
        recognition = method.build(tower, frames=4)
    with seeded(0):
        retrieval = method.build_pair(tower, retrieval_toys.text_tower(device="meta"), frames=4).video.side
    theirs = recognition.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in retrieval.state_dict().items())

"""Both variants of ViViT against an independent float64 statement of them, and their counts."""

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

import oracle
import vivit_statement as statement
from clip_towers import clip_tower
from side4video.core.errors import InputError
from side4video.models.backbones import ClipTowerSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.full import FullSpec

VISUAL = "trunk.visual."
LARGE = {"kind": "transformer", "width": 1024, "layers": 24, "heads": 16}
HUGE = {"kind": "transformer", "width": 1280, "layers": 32, "heads": 16, "patch_size": 14}


def build(*, size=32, frames=8, patch=16, batch=2, **sizes):
    sizes = {"kind": "transformer", "width": 48, "layers": 3, "heads": 2, "patch_size": patch, **sizes}
    tower = clip_tower("vivit-factorised", size=size, frames=frames, sizes=sizes).build()
    oracle.perturb(tower, seed=2)
    network = FullSpec().build(tower, frames=frames)
    return tower, network, oracle.own_features(tower, oracle.make_video(batch=batch, frames=frames, size=size))


def truth(tower, network, features, **twin):
    state = oracle.double(network, trains=True)
    sizes = {"layers": tower.shape.depth, "temporal_layers": 2, "heads": tower.shape.heads, **twin}
    video = tower.normalise(features.video_BTCHW).double()
    named = {name.removeprefix(VISUAL): tensor for name, tensor in state.items()}
    return statement.factorised(video, named, **sizes), state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"frames": 2, "batch": 1},
        {"frames": 6, "size": 21, "patch": 7, "width": 40, "heads": 5, "batch": 3},
        {"frames": 6, "tubelet_frames": 3},
        {"size": 16},
    ],
    ids=["plain", "one step", "odd sizes", "long tubelets", "one patch"],
)
def test_outputs_and_gradients_equal_the_statement(shape, training):
    tower, network, features = build(**shape)
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_joint_variant_equals_its_statement(training):
    tower = clip_tower("vivit").build()
    oracle.perturb(tower, seed=2)
    network = FullSpec().build(tower, frames=8).train(training)
    features = oracle.own_features(tower, oracle.make_video(frames=8, size=32))
    state = oracle.double(network, trains=True)
    named = {name.removeprefix(VISUAL): tensor for name, tensor in state.items()}
    expected = statement.joint(tower.normalise(features.video_BTCHW).double(), named, layers=3, heads=2)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_a_twin_apart():
    tower, network, features = build()
    for twin in ({"layers": 2}, {"temporal_layers": 1}, {"heads": 1}):
        expected, _ = truth(tower, network, features, **twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_time_steps_meet_in_the_temporal_encoder_alone():
    tower, network, features = build()
    last = tower.shape.depth - 1
    changed = features.video_BTCHW.clone()
    changed[:, 0] = 255 - changed[:, 0]
    reads = FeatureRequest(tokens=frozenset({last}), pooled=True)
    before, after = (frozen_features(tower, each, reads) for each in (features.video_BTCHW, changed))
    same = [each.tokens[last].unflatten(0, (2, -1)) for each in (before, after)]
    assert same[0].shape == (2, 4, 4, 48)
    assert torch.equal(same[0][:, 1:], same[1][:, 1:])
    assert not torch.equal(same[0][:, 0], same[1][:, 0])
    assert not torch.equal(before.pooled_BTD, after.pooled_BTD)
    assert torch.equal(before.pooled_BTD.squeeze(1), network.eval()(features))


def test_initial_values_are_the_authors():
    tower = clip_tower("vivit-factorised", sizes={**LARGE, "width": 256, "layers": 1, "heads": 4}).build()
    visual = tower.trunk.visual
    for encoder in (visual.spatial, visual.temporal):
        assert not encoder.class_token_D.any()
        assert encoder.positions_SD.std().item() == pytest.approx(0.02, rel=0.2)
        assert encoder.blocks[0].attn.qkv.weight.std().item() == pytest.approx(256**-0.5, rel=0.02)
        assert encoder.blocks[0].mlp.fc1.weight.std().item() == pytest.approx((2 / (5 * 256)) ** 0.5, rel=0.02)
        assert not encoder.blocks[0].attn.qkv.bias.any()
        assert encoder.norm.eps == encoder.blocks[0].norm1.eps == 1e-6


@pytest.mark.parametrize(
    ("options", "parameters", "multiply_adds"),
    [  # M and G, closed forms of the authors' sizes with their 174 and 400 classes
        ({"sizes": LARGE, "variant": "factorised"}, (174, 354.7), 988),
        ({"sizes": LARGE, "variant": "factorised", "temporal_layers": 24}, (400, 606.6), None),
        ({"sizes": HUGE}, (400, 636.9), 3959),
    ],
    ids=["L/16x2 factorised", "L/16x2 factorised of Kinetics", "H/14x2 joint"],
)
def test_the_authors_counts(options, parameters, multiply_adds):
    tower = ClipTowerSpec.model_validate({"model": "vivit", "weights": {"kind": "random"}, **options}).build("meta")
    network = FullSpec().build(tower, frames=32)
    classes, millions = parameters
    trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert (trained + classes * (tower.shape.width + 1)) / 1e6 == pytest.approx(millions, rel=0.0005)
    if multiply_adds:
        video = torch.empty(1, 32, 3, 224, 224, dtype=torch.uint8, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(oracle.own_features(tower, video))
        assert counter.get_total_flops() / 2e9 == pytest.approx(multiply_adds, rel=0.005)


def test_weights_are_written_and_read_again(tmp_path):
    tower, _, features = build()
    path = tmp_path / "weights.pth"
    torch.save(tower.trunk.visual.state_dict() | {"head.weight": torch.zeros(3, 48)}, path)
    weights = {"kind": "file", "path": str(path)}
    again = clip_tower("vivit-factorised", weights=weights).build()
    reads = FeatureRequest(pooled=True)
    outputs = [frozen_features(each, features.video_BTCHW, reads).pooled_BTD for each in (tower, again)]
    assert torch.equal(*outputs)
    with pytest.raises(InputError, match="does not fit the tower"):
        clip_tower("vivit-factorised", weights=weights, temporal_layers=3).build()


def test_other_models_have_no_such_variant():
    with pytest.raises(ValidationError, match="factorised, and the model is vivit-b-16x2"):
        ClipTowerSpec(model="vivit-b-16x2", variant="factorised", weights={"kind": "random"})
    with pytest.raises(ValidationError, match="factorised, and the model is videomae"):
        clip_tower("videomae", variant="factorised")

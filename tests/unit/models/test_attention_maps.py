"""Maps of both networks against weights that are computed another way, and against what they are said to mean."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import toys
from side4video.models import attention_maps
from side4video.models.attention_maps import SideReading, side_definition, tower_map, tower_request
from side4video.models.backbones.vit import ViTSpec
from side4video.models.feature_request import EMBEDDING
from side4video.models.frozen_features import frozen_features
from side4video.models.layers.attention_weights import attention_of
from side4video.models.methods.side4video import Side4VideoSpec

CASES = {
    "paper": {},
    "authors": {"preset": "authors"},
    "two heads": {"dim": 128},
    "without shift": {"cls_shift": False},
    "without places": {"spatial_embedding": "none"},
    "temporal attention": {"temporal": "attention"},
    "the tower's [CLS]": {"representation": "vit-cls"},
    "the tower's [CLS], no shift": {"representation": "vit-cls", "cls_shift": False},
    "an extra [CLS]": {"representation": "extra-cls"},
    "EVA": {"preset": "authors-eva"},
}
FRAMES = 3


def double_tower(**changes):
    sizes = {"image_size": 24, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8, "output_dim": 16, **changes}
    tower = ViTSpec(**sizes, weights={"kind": "random", "seed": 5}, precision="fp32").build("cpu")
    tower.trunk.double()
    tower.dtype = torch.float64
    return tower


def network_of(options, tower):
    torch.manual_seed(3)
    spec = Side4VideoSpec.model_validate({"layers": 2, "dim": 64, **options})
    network = spec.build(tower, frames=FRAMES)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += 0.1 * torch.randn_like(parameter)
            if "attention.query_key_value.weight" in name:
                parameter *= 2  # far from even
    return spec, network.double().eval()


def clips(size=24, batch=2):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (batch, FRAMES, 3, size, size), dtype=torch.uint8, generator=generator)


def features_of(tower, spec, video):
    return frozen_features(tower, video, spec.reads(tower.shape, frames=FRAMES) | tower_request(tower))


def read_side(network, tower, features):
    with SideReading(network, tower) as reading:
        network(features)
    return reading


@torch.no_grad()
def test_the_towers_map_is_the_class_tokens_row():
    tower = double_tower()
    features = frozen_features(tower, clips(), tower_request(tower))
    found = tower_map(tower, features)
    block = tower.trunk.blocks[-1]
    entering = tower(clips().flatten(0, 1), [0])[0]
    normed = block.ln_1(entering)
    weights = block.attn(normed, normed, normed, need_weights=True, average_attn_weights=True)[1]
    assert found.shape == (2, FRAMES, 3, 3)
    assert (found - weights[:, 0, 1:].view(2, FRAMES, 3, 3)).abs().max() < 1e-6
    assert ((found.sum((-2, -1)) + weights[:, 0, 0].view(2, FRAMES)) - 1).abs().max() < 1e-6


@torch.no_grad()
def test_a_tower_of_one_block_is_read_at_its_entry():
    tower = double_tower(layers=1)
    assert tower_request(tower).tokens == {EMBEDDING}
    features = frozen_features(tower, clips(), tower_request(tower))
    assert tower_map(tower, features).shape == (2, FRAMES, 3, 3)


@torch.no_grad()
def test_patches_lie_row_by_row():
    """A tower that looks for red: the map is bright where the red patch is."""
    tower = double_tower(layers=1)
    video = torch.zeros((1, 1, 3, 24, 24), dtype=torch.uint8)
    video[..., 8:16, 16:24] = 255  # second row, third column
    plain = frozen_features(tower, torch.zeros_like(video), tower_request(tower))
    marked = frozen_features(tower, video, tower_request(tower))
    change = (tower_map(tower, marked) - tower_map(tower, plain)).abs()[0, 0]
    assert change.argmax() == 1 * 3 + 2


def independent_weights(network, entered):
    """[N, h, Q, S] of the last block's spatial attention, by torch's own attention, in float64."""
    tokens, cls, places = entered
    attention = network.blocks[-1].attention
    seen = tokens.clone()
    if places is not None:
        seen[:, :, tokens.shape[2] - len(places) :] += places
    if cls is not None:
        seen = torch.cat([cls[:, :, None], seen], dim=2)
    seen = seen.flatten(0, 1)
    if not attention.is_post:
        seen = F.layer_norm(seen, seen.shape[-1:], attention.norm.weight, attention.norm.bias)
    rows = seen.transpose(0, 1)
    _, weights = F.multi_head_attention_forward(
        *(rows[0 if cls is None else 1 :], rows, rows, rows.shape[-1], attention.heads),
        attention.query_key_value.weight,
        attention.query_key_value.bias,
        *(None, None, False, 0.0),
        attention.leave.weight,
        attention.leave.bias,
        training=False,
        average_attn_weights=False,
    )
    return weights


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_side_networks_map_is_what_patches_receive(case):
    tower = double_tower()
    spec, network = network_of(CASES[case], tower)
    features = features_of(tower, spec, clips())
    entered = []
    hook = network.blocks[-1].attention.register_forward_pre_hook(lambda module, given: entered.append(given))
    found = read_side(network, tower, features).map(features)
    hook.remove()
    weights = independent_weights(network, entered[0])
    looking = weights.mean(2) if spec.representation == "gap" else weights[:, :, 0]
    expected = looking.mean(1)[:, -9:].view(2, FRAMES, 3, 3)
    assert (found - expected).abs().max() < 1e-6
    assert found.std() > 0.01
    rest = looking.mean(1)[:, :-9].sum(-1).view(2, FRAMES)  # goes to [CLS] tokens
    assert (found.sum((-2, -1)) + rest - 1).abs().max() < 1e-6
    assert (rest.max() > 1e-3) == (spec.cls_shift or spec.representation != "gap")
    assert side_definition(network) == (
        attention_maps.SIDE_MAP if spec.representation == "gap" else attention_maps.OWN_CLASS_MAP
    )


@torch.no_grad()
def test_the_mean_over_patches_is_the_map_times_the_values():
    """What a map of the mean representation is said to mean: by it alone the branch's mean is had from the values."""
    tower = double_tower()
    spec, network = network_of({"cls_shift": False}, tower)
    features = features_of(tower, spec, clips())
    entered = []
    attention = network.blocks[-1].attention
    hook = attention.register_forward_pre_hook(lambda module, given: entered.append(given))
    found = read_side(network, tower, features).map(features)
    hook.remove()
    branch = attention(*entered[0]).mean(2)  # [B, T, D]: the mean over patches
    tokens, _, places = entered[0]
    normed = F.layer_norm(tokens + places, tokens.shape[-1:], attention.norm.weight, attention.norm.bias)
    weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
    values = normed @ weight[128:].T + bias[128:]  # one head of 64
    by_map = (found.double().flatten(2)[..., None] * values).sum(2) @ attention.leave.weight.T + attention.leave.bias
    assert (by_map - branch).abs().max() < 1e-6 * branch.abs().max()
    # The twin: what patches give in place of what they get, which is the same for all of them.
    weights = attention_of(attention, *entered[0])
    given = weights.mean(-1).mean(1).view(2, FRAMES, 9)
    twin = (given[..., None] * values).sum(2) @ attention.leave.weight.T + attention.leave.bias
    assert (twin - branch).abs().max() > 1e-3 * branch.abs().max()


@torch.no_grad()
def test_frames_in_chunks_and_kept_in_eight_bits():
    video = toys.make_batch(1).video_BTCHW
    whole = toys.new_tower()
    expected = tower_map(whole, frozen_features(whole, video, tower_request(whole)))
    chunked = toys.new_tower(chunk_frames=3)
    assert (tower_map(chunked, frozen_features(chunked, video, tower_request(chunked))) - expected).abs().max() < 1e-6
    kept = toys.new_tower(kept_tokens="8-bit")
    found = tower_map(kept, frozen_features(kept, video, tower_request(kept)))
    assert 0 < (found - expected).abs().max() < 0.02


def test_a_network_that_has_not_run_has_no_map():
    tower = double_tower()
    spec, network = network_of({}, tower)
    features = features_of(tower, spec, clips())
    with pytest.raises(ValueError, match="not run"):
        SideReading(network, tower).map(features)


@torch.no_grad()
def test_watching_changes_nothing_and_ends():
    tower = double_tower()
    spec, network = network_of({}, tower)
    features = features_of(tower, spec, clips())
    before = network(features)
    read_side(network, tower, features).map(features)
    assert not network.blocks[-1].attention._forward_pre_hooks
    assert torch.equal(network(replace(features)), before)

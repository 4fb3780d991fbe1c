"""CLIP4Clip: which parameters train, by count and by name; its frame features against float64 statements."""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import clip_statement
import matching_statement
import oracle
import retrieval_toys
import toys
from side4video.core.seeds import seeded
from side4video.models.methods.clip4clip import CLIP4ClipSpec
from side4video.models.networks import clip4clip
from side4video.models.networks.clip4clip import FrameSequence, TrainedFrames, positions_from
from side4video.planning.meta_model import build_meta_model
from tiny import tiny

MEAN, TIGHT, TOKEN_WISE = {"kind": "mean"}, {"kind": "tight"}, {"kind": "token-wise"}
COUNTS = {
    # what the authors' code trains: the model, the method, the matching
    "full": ("ViT-B-32-quickgelu", {"kind": "clip4clip"}, MEAN, 123_540_993),
    "frozen": ("ViT-B-32-quickgelu", {"kind": "clip4clip-frozen"}, MEAN, 63_822_849),
    "frozen B/16": ("ViT-B-16-quickgelu", {"kind": "clip4clip-frozen"}, MEAN, 63_822_849),
    "sequence": ("ViT-B-32-quickgelu", {"kind": "clip4clip", "similarity": "seq-transf"}, MEAN, 136_189_953),
    # Theirs counts CLIP's scale, which stands nowhere in this similarity and so never has a gradient: one less.
    "tight": ("ViT-B-32-quickgelu", {"kind": "clip4clip", "similarity": "tight-transf"}, TIGHT, 136_454_146 - 1),
    "side B/16": ("ViT-B-16-quickgelu", {"kind": "side4video", "layers": 12, "dim": 320}, TOKEN_WISE, 85_652_099),
    "side B/32": ("ViT-B-32-quickgelu", {"kind": "side4video", "layers": 12, "dim": 320}, TOKEN_WISE, 87_816_899),
    "side L/14": ("ViT-L-14-quickgelu", {"kind": "side4video", "layers": 24, "dim": 320}, TOKEN_WISE, 169_086_339),
    "zero-shot": ("ViT-B-32-quickgelu", {"kind": "zero-shot"}, TOKEN_WISE, 0),
}
ENTRANCE = {
    "network.video.trunk.visual.conv1.weight",
    "network.video.trunk.visual.class_embedding",
    "network.video.trunk.visual.positional_embedding",
    "network.video.trunk.visual.ln_pre.weight",
    "network.video.trunk.visual.ln_pre.bias",
    "network.text.transformer.token_embedding.weight",
    "network.text.transformer.positional_embedding",
}


@functools.cache
def parameters(case):
    """Sizes of what is trained, and of what is not, by name."""
    model, method, matching, _ = COUNTS[case]
    backbone = {"kind": "open-clip", "model": model, "weights": {"kind": "random"}, "precision": "fp32"}
    task = {"kind": "retrieval", "matching": matching}
    module = build_meta_model(
        tiny(backbone=backbone, method=method, task=task, data={"size": 224, "frames": 12}), classes=1
    ).module
    named = list(module.named_parameters())
    return tuple({name: p.numel() for name, p in named if p.requires_grad == wanted} for wanted in (True, False))


@pytest.mark.parametrize("case", COUNTS)
def test_as_many_parameters_train_as_in_the_authors_code(case):
    assert sum(parameters(case)[0].values()) == COUNTS[case][3]


def trains_every_embedding(monkeypatch):
    monkeypatch.setattr(clip4clip, "freeze_entrance", lambda text: None)


def trains_the_patches(monkeypatch):
    monkeypatch.setattr(clip4clip, "NEVER_TRAINED", clip4clip.NEVER_TRAINED[1:])


@pytest.mark.parametrize("spoil", [trains_every_embedding, trains_the_patches])
def test_twins_of_the_counts(spoil, monkeypatch):
    spoil(monkeypatch)
    parameters.cache_clear()
    with pytest.raises(AssertionError):
        test_as_many_parameters_train_as_in_the_authors_code("full")
    parameters.cache_clear()


def test_table_3_stands_in_its_order():
    frozen, side, full = (sum(parameters(case)[0].values()) for case in ("frozen B/16", "side B/16", "full"))
    assert frozen < side < full


def test_the_full_variant_leaves_both_entrances_as_they_are():
    for case in ("full", "sequence", "tight"):
        _, frozen = parameters(case)
        assert {name.replace("video.frames.", "video.") for name in frozen} - {"scale.logarithm"} == ENTRANCE, case
        assert ("scale.logarithm" in frozen) == (case == "tight")
    assert not {name for name in parameters("full")[0] if not name.startswith(("network.", "scale."))}
    assert sum(parameters("full")[1].values()) == 151_277_313 - 123_540_993


def test_the_frozen_variant_trains_the_whole_text_tower_and_the_last_two_layers():
    trained, frozen = parameters("frozen")
    assert frozen == {}
    video = {name: size for name, size in trained.items() if name.startswith("network.video.")}
    names = ("norm.weight", "norm.bias", "weight_DE")
    assert video == dict(
        zip((f"network.video.projection.{name}" for name in names), (768, 768, 768 * 512), strict=True)
    )
    assert sum(trained.values()) - sum(video.values()) - 1 == 63_428_096
    assert {name for name in ENTRANCE if ".text." in name} < set(trained)


def test_side4video_trains_what_the_frozen_variant_does_and_what_is_new():
    trained, _ = parameters("side B/16")
    pretrained = {name for name in trained if ".projection." in name and ".side." not in name}
    pretrained |= {name for name in trained if name.startswith(("network.text.", "scale."))}
    assert sum(trained[name] for name in pretrained) == 63_822_849
    assert sum(size for name, size in trained.items() if name not in pretrained) == 21_829_250


# ---- the tower, trained


class Frames(nn.Module):
    """Stands for a network that gives frame features: they are a parameter."""

    def __init__(self, *sizes):
        super().__init__()
        self.features = nn.Parameter(torch.randn(sizes))

    def forward(self, _):
        return self.features


def trained_frames(tower, video_BTCHW, state):
    """The tower's projected frame features, by clip_statement."""
    rows = []
    for clip in video_BTCHW:
        for frame in clip:
            x = clip_statement.embed(frame, state)
            for index in range(tower.shape.depth):
                x = x + clip_statement.attention(x, state, index, tower.shape.heads)
                normed = clip_statement.layer_norm(x, state, f"transformer.resblocks.{index}.ln_2")
                x = x + clip_statement.mlp(normed, state, index, quick=tower.shape.quick_gelu)
            rows.append(clip_statement.layer_norm(x[0], state, "ln_post") @ state["proj"])
    return torch.stack(rows).unflatten(0, video_BTCHW.shape[:2])


def check_trained(spoil=lambda tower: None):
    tower = oracle.make_tower()
    network, video = TrainedFrames(tower), oracle.make_video()
    prefix = "trunk.visual."
    state = oracle.double(network, trains=True)
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    spoil(tower)
    expected = trained_frames(tower, tower.normalise(video).double(), own)
    found = network(oracle.own_features(tower, video))
    assert found.shape[:2] == video.shape[:2]
    oracle.assert_equal(found, expected, network, state)


def test_the_trained_tower_is_the_statement():
    check_trained()


def swapped_blocks(tower):
    run = tower.trunk.attention_branch
    tower.trunk.attention_branch = lambda index, tokens: run(0 if index else 1, tokens)


def without_gradients(tower):
    embed = tower.trunk.pool
    tower.trunk.pool = lambda tokens: embed(tokens.detach())


@pytest.mark.parametrize("spoil", [swapped_blocks, without_gradients])
def test_twins_of_the_trained_tower(spoil):
    with pytest.raises(AssertionError):
        check_trained(spoil)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_no_entrance_is_trained_on_any_family(family):
    tower = toys.new_tower("fp32", family)
    text = retrieval_toys.new_text_tower()
    before = {name: tensor.clone() for name, tensor in tower.trunk.visual.named_parameters()}
    pair = CLIP4ClipSpec().build_pair(tower, text, frames=toys.FRAMES)
    frozen = {name for name, p in pair.video.trunk.visual.named_parameters() if not p.requires_grad}
    expected = {
        "clip": {"conv1.weight", "class_embedding", "positional_embedding", "ln_pre.weight", "ln_pre.bias"},
        "eva-post-norm": {"patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed"},
    }
    assert frozen == expected.get(family, expected["eva-post-norm"])
    assert frozen < set(before)


# ---- seqTransf


WIDTH, FRAMES = 128, 5


@pytest.fixture(scope="module")
def text():
    return retrieval_toys.text_tower(width=WIDTH, output_dim=WIDTH, layers=3, words=20, head_width=64)


def check_sequence(text, spoil=lambda network: None):
    with seeded(0):
        network = FrameSequence(Frames(2, FRAMES, WIDTH), text, layers=2, frames=FRAMES)
    oracle.perturb(network, seed=1, by=0.02)
    with torch.no_grad():
        # Small tokens, or an epsilon of 1e-5 in the norms would not show.
        network.frames.features.mul_(1e-2)
        network.positions_TE.mul_(1e-2)
    state = oracle.double(network, trains=True)
    spoil(network)
    expected = torch.stack(
        [matching_statement.sequence(frames_TE, state, layers=2) for frames_TE in state["frames.features"]]
    )
    oracle.assert_equal(network(SimpleNamespace(frame_mask_BT=None)), expected, network, state)


def test_the_sequence_is_the_statement(text):
    check_sequence(text)


def test_a_sequence_reads_the_videos_own_frames(text):
    with seeded(0):
        network = FrameSequence(Frames(2, FRAMES, WIDTH), text, layers=2, frames=FRAMES)
    oracle.perturb(network, seed=1, by=0.02)
    state = oracle.double(network, trains=True)
    counts = (2, FRAMES)
    mask_BT = torch.arange(FRAMES) < torch.tensor(counts)[:, None]
    expected = [
        matching_statement.sequence(frames_TE[:count], state, layers=2)
        for frames_TE, count in zip(state["frames.features"], counts, strict=True)
    ]
    found = network(SimpleNamespace(frame_mask_BT=mask_BT))[mask_BT]
    oracle.assert_equal(found, torch.cat(expected), network, state)


def other_epsilon(network):
    network.blocks[0].attention_norm.eps = 1e-5


def another_order(network):
    forward = network.frames.forward
    network.frames.forward = lambda features: forward(features).flip(1)


def one_head(network):
    for block in network.blocks:
        block.heads = 1


@pytest.mark.parametrize("spoil", [other_epsilon, another_order, one_head])
def test_twins_of_the_sequence(text, spoil):
    with pytest.raises(AssertionError):
        check_sequence(text, spoil)


def test_it_begins_with_the_text_towers_positions_and_blocks(text):
    with seeded(0):
        network = FrameSequence(Frames(2, FRAMES, WIDTH), text, layers=3, frames=FRAMES)
    assert torch.equal(network.positions_TE, text.transformer.positional_embedding)
    for block, source in zip(network.blocks, text.blocks, strict=True):
        copied = sorted(float(tensor.detach().double().sum()) for tensor in block.parameters())
        assert copied == sorted(float(tensor.detach().double().sum()) for tensor in source.parameters())


def test_more_frames_than_the_text_tower_has_positions(text):
    with seeded(0):
        network = FrameSequence(Frames(1, 24, WIDTH), text, layers=1, frames=24)
    assert network.positions_TE.shape == (24, WIDTH)
    assert network(SimpleNamespace(frame_mask_BT=None)).shape == (1, 24, WIDTH)


def test_positions_of_another_width_begin_small():
    narrow = retrieval_toys.new_text_tower()
    with seeded(0):
        positions = positions_from(narrow, at_least=3)
    assert positions.shape == (77, 24)
    assert positions.std().item() == pytest.approx(0.02, rel=0.1)

"""Tokens and features of timm's vision transformers, walked block by block, are the library's own."""

import pytest
import timm
import torch
from torch import nn

from side4video.models.towers.timm_trunk import TimmTrunk, UnsupportedTowerError

FAMILIES = {
    "vit_small_patch16_224": (1, 0, "class-token"),
    "vit_small_patch14_dinov2": (1, 0, "class-token"),  # layer scale
    "vit_small_patch14_reg4_dinov2": (5, 0, "class-token"),  # registers
    "vit_small_patch16_dinov3": (5, 0, "mean"),  # rotary positions alone
    "vit_small_plus_patch16_dinov3": (5, 0, "mean"),  # a gated MLP
    "vit_base_patch16_siglip_224": (0, None, "attention"),
    "vit_base_patch16_siglip_gap_224": (0, None, "mean"),
    "vit_pe_core_tiny_patch16_384": (1, 0, "attention"),  # rotary and learned positions
    "vit_small_patch16_rope_mixed_224": (1, 0, "class-token"),  # rotary positions of each block
    "vit_base_patch14_reg4_dinov2": (5, 0, "class-token"),
    "deit3_small_patch16_224": (1, 0, "class-token"),
    "eva02_tiny_patch14_224": (1, 0, "mean"),
    "aimv2_large_patch14_224": (0, None, "mean"),  # RMSNorm
    "vit_intern300m_patch14_448": (1, 0, "class-token"),  # no final norm
}
"""Prefix tokens, class token and pooling of a model of each family."""


def make(name, *, patches=4):
    """A model of two blocks for small frames, every parameter away from the ones and zeros that hide mistakes."""
    patch = int(name.partition("patch")[2].partition("_")[0])
    size = patches * patch
    model = timm.create_model(name, pretrained=False, num_classes=0, depth=2, img_size=size).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model, torch.randn(2, 3, size, size, generator=generator)


def walk(trunk, frames):
    tokens = trunk.embed(frames)
    for index in range(2):
        tokens = trunk.run_block(index, tokens)
    return tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_the_walk_is_the_librarys_forward(name):
    model, frames = make(name)
    trunk = TimmTrunk(model)
    assert (trunk.prefix_tokens, trunk.class_token, trunk.pooling) == FAMILIES[name]
    with torch.no_grad():
        expected = model.forward_features(frames)
        tokens = walk(trunk, frames)
        torch.testing.assert_close(model.norm(tokens), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(trunk.pool(tokens), model.forward_head(expected, pre_logits=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_twin_without_layer_scale_is_noticed(name, monkeypatch):
    model, frames = make(name)
    monkeypatch.setattr(TimmTrunk, "_scaled", lambda self, index, branch, tokens: tokens)
    with torch.no_grad():
        assert (model.norm(walk(TimmTrunk(model), frames)) - model.forward_features(frames)).abs().max() > 1e-2


def test_buffers_are_made_again_after_meta():
    """Rotary positions are in no file; without them the tokens differ."""
    model, frames = make("vit_small_patch16_dinov3")
    with torch.device("meta"):
        empty = timm.create_model(
            "vit_small_patch16_dinov3", num_classes=0, depth=2, img_size=frames.shape[-1], dynamic_img_size=False
        )
    trunk = TimmTrunk(empty)
    trunk.visual.load_state_dict(model.state_dict(), strict=True, assign=True)
    trunk.rebuild_buffers(torch.float32)
    trunk.visual.eval()
    with torch.no_grad():
        torch.testing.assert_close(walk(trunk, frames), walk(TimmTrunk(model), frames))


def test_learned_positions_of_another_frame_size_are_resized():
    large, _ = make("vit_small_patch14_reg4_dinov2", patches=8)
    small, frames = make("vit_small_patch14_reg4_dinov2", patches=4)
    state = TimmTrunk(small).rename(large.state_dict())
    assert state["pos_embed"].shape == small.state_dict()["pos_embed"].shape
    small.load_state_dict(state)
    with torch.no_grad():
        assert bool(walk(TimmTrunk(small), frames).isfinite().all())


def test_a_classifier_in_a_file_is_left_out():
    model, _ = make("vit_small_patch16_224")
    state = {**model.state_dict(), "head.weight": torch.zeros(10, 384), "head.bias": torch.zeros(10)}
    assert TimmTrunk(model).rename(state).keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_base_patch16_xp_224", "its blocks are ParallelScalingBlock"),
        ("beit_base_patch16_224", "it is a Beit"),
        ("deit_tiny_distilled_patch16_224", "it is a VisionTransformerDistilled"),
    ],
)
def test_what_cannot_be_walked_says_why(name, reason):
    with pytest.raises(UnsupportedTowerError, match=reason):
        TimmTrunk(timm.create_model(name, pretrained=False, num_classes=0, depth=2))


def test_a_model_of_another_kind():
    with pytest.raises(UnsupportedTowerError, match="it is a Linear"):
        TimmTrunk(nn.Linear(2, 2))

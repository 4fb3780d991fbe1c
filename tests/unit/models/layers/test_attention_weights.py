"""The weights are those that the layer computed with: libraries' own weights, and the layer's own output, say so."""

import pytest
import torch
from torch.nn import functional as F

import families
import toys
from side4video.core.errors import Side4VideoError
from side4video.models.layers import attention_weights
from side4video.models.layers.attention_weights import Attention, attention_of

LAST = 3


def tower_of(family):
    if family == "clip":
        tower = families.clip_tower()
    else:
        tower = families.eva_tower(family, families.eva_shape(family, heads=4, image_size=toys.SIZE))
        for name, weight in tower.trunk.blocks[LAST].attn.named_parameters():
            if name.startswith(("qkv.", "q_proj.", "k_proj.")):
                weight.mul_(8)  # timm's initial values make an even attention, which would hide most mistakes
    return tower, tower.trunk.double()


def entering(tower, trunk):
    """Random tokens in front of the last block: larger than a random tower's, so that attention is far from even."""
    generator = torch.Generator().manual_seed(2)
    return 3 * torch.randn((6, tower.shape.tokens, tower.shape.width), dtype=torch.float64, generator=generator)


def library_weights(family, trunk, tokens_NPD):
    """By open_clip's and timm's own ways to give attention weights."""
    block = trunk.blocks[LAST]
    if family == "clip":
        normed = block.ln_1(tokens_NPD)
        return block.attn(normed, normed, normed, need_weights=True, average_attn_weights=False)[1]
    seen = []
    block.attn.fused_attn = False
    hook = block.attn.attn_drop.register_forward_hook(lambda module, given, output: seen.append(output))
    trunk.attention_branch(LAST, tokens_NPD)
    hook.remove()
    block.attn.fused_attn = True
    return seen[0]


FAMILIES = ("clip", "eva-post-norm", "eva-pre-norm", "eva-rotary")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_towers_weights_are_its_librarys(family):
    tower, trunk = tower_of(family)
    tokens_NPD = entering(tower, trunk)
    found = attention_of(trunk.attention_branch, LAST, tokens_NPD)
    expected = library_weights(family, trunk, tokens_NPD)
    assert found.dtype == torch.float64
    assert found.shape == (6, 4, tower.shape.tokens, tower.shape.tokens)
    assert (found - expected).abs().max() < 1e-12
    assert found.std() > 0.02


def recorded(layer, *arguments):
    with attention_weights.AttentionRecorder() as recorder:
        output = layer(*arguments)
    return recorder.calls, output


def without_scale(attention):
    return torch.softmax(attention.query_NhQk @ attention.key_NhSk.transpose(-2, -1), dim=-1)


def of_another_head(attention):
    return attention.weights().roll(1, dims=1)


def averaged_over_heads(attention):
    return attention.weights().mean(dim=1, keepdim=True).expand_as(attention.weights())


def over_the_wrong_side(attention):
    scores = attention.query_NhQk @ attention.key_NhSk.transpose(-2, -1) * attention.query_NhQk.shape[-1] ** -0.5
    return torch.softmax(scores, dim=-2)


def of_another_frame(attention):
    return attention.weights().roll(1, dims=0)


TWINS = (without_scale, of_another_head, averaged_over_heads, over_the_wrong_side, of_another_frame)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_weights_and_values_give_the_blocks_output_to_float64_rounding(family):
    tower, trunk = tower_of(family)
    tokens_NPD = entering(tower, trunk)
    (attention,), output = recorded(trunk.attention_branch, LAST, tokens_NPD)
    mixed = (attention.weights() @ attention.value_NhSk).transpose(1, 2).flatten(2)
    block = trunk.blocks[LAST]
    left = block.attn.out_proj(mixed) if family == "clip" else block.attn.proj(block.attn.norm(mixed))
    if tower.shape.post_norm:
        left = block.norm1(left)
    assert (left - output).abs().max() < 1e-12 * output.abs().max()
    assert attention.error(attention.weights()) < 1e-13


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
@torch.no_grad()
def test_wrong_weights_are_refused_in_every_precision(twin, precision, monkeypatch):
    tower = families.clip_tower(precision="bf16" if precision == "bf16" else "fp32")
    trunk = tower.trunk.double() if precision == "fp64" else tower.trunk
    tokens_NPD = entering(tower, trunk).to(next(trunk.parameters()).dtype)
    attention_of(trunk.attention_branch, LAST, tokens_NPD)
    right = Attention.weights
    monkeypatch.setattr(Attention, "weights", lambda self: twin(_Kept(self, right)).to(right(self).dtype))
    with pytest.raises(Side4VideoError, match="another output than the layer's"):
        attention_of(trunk.attention_branch, LAST, tokens_NPD)


class _Kept:
    """An attention whose weights are still the right ones, in fp32 or more."""

    def __init__(self, attention, right):
        wide = torch.promote_types(attention.query_NhQk.dtype, torch.float32)
        self.query_NhQk, self.key_NhSk = attention.query_NhQk.to(wide), attention.key_NhSk.to(wide)
        self.weights = lambda: right(attention)


@torch.no_grad()
def test_a_layer_that_is_watched_gives_the_bits_that_it_always_gives():
    tower = families.clip_tower()
    tokens_NPD = entering(tower, tower.trunk).float()
    calls, output = recorded(tower.trunk.attention_branch, LAST, tokens_NPD)
    assert len(calls) == 1
    assert torch.equal(output, tower.trunk.attention_branch(LAST, tokens_NPD))


@pytest.mark.parametrize("options", [{"is_causal": True}, {"attn_mask": torch.zeros(5, 5)}, {"scale": 0.1}])
def test_another_kind_of_attention_is_refused(options):
    query = torch.randn(2, 1, 5, 4)
    with pytest.raises(ValueError, match=next(iter(options))):
        attention_of(lambda: F.scaled_dot_product_attention(query, query, query, **options))


def test_one_attention_is_expected():
    query = torch.randn(2, 1, 5, 4)
    with pytest.raises(ValueError, match="0 attentions"):
        attention_of(lambda: query + 1)
    with pytest.raises(ValueError, match="2 attentions"):
        attention_of(lambda: [F.scaled_dot_product_attention(query, query, query) for _ in range(2)])
    assert attention_of(lambda: F.scaled_dot_product_attention(query, query, query, None, 0.0, False)).shape[-1] == 5

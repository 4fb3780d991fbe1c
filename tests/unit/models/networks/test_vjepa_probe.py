"""V-JEPA 2's probe against transformers' own pooler, and the authors' counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import VJEPA2Config
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2AttentivePooler

import oracle
from clip_towers import clip_tower
from side4video.core.seeds import seeded
from side4video.models.backbones import ClipTowerSpec
from side4video.models.methods.vjepa_probe import VJEPAProbeSpec
from side4video.models.networks.contract import FrozenFeatures

FRAMES, SIZE = 8, 32


def library_pooler(probe, layers):
    config = VJEPA2Config(
        hidden_size=probe.output_dim, num_attention_heads=2, num_pooler_layers=layers - 1, layer_norm_eps=1e-5
    )
    config._attn_implementation = "sdpa"
    pooler = VJEPA2AttentivePooler(config).double()
    state = {"query_tokens": probe.query.query_D[None, None]}

    def linears(theirs, weight, bias):
        for name, part, offset in zip(theirs, weight.chunk(len(theirs)), bias.chunk(len(theirs)), strict=True):
            state[f"{name}.weight"], state[f"{name}.bias"] = part, offset

    def block(prefix, norm, mlp):
        state[f"{prefix}.layer_norm1.weight"], state[f"{prefix}.layer_norm1.bias"] = norm.weight, norm.bias
        state[f"{prefix}.layer_norm2.weight"], state[f"{prefix}.layer_norm2.bias"] = mlp.norm.weight, mlp.norm.bias
        linears([f"{prefix}.mlp.fc1"], mlp.widen.weight, mlp.widen.bias)
        linears([f"{prefix}.mlp.fc2"], mlp.narrow.weight, mlp.narrow.bias)

    for number, each in enumerate(probe.blocks):
        prefix = f"self_attention_layers.{number}"
        block(prefix, each.attention_norm, each.mlp)
        names = [f"{prefix}.self_attn.{part}_proj" for part in "qkv"]
        linears(names, each.query_key_value.weight, each.query_key_value.bias)
        linears([f"{prefix}.self_attn.out_proj"], each.leave.weight, each.leave.bias)
    last = probe.query
    block("cross_attention_layer", last.token_norm, last.mlp)
    linears(["cross_attention_layer.cross_attn.q_proj"], last.query.weight, last.query.bias)
    names = [f"cross_attention_layer.cross_attn.{part}_proj" for part in "kv"]
    linears(names, last.key_value.weight, last.key_value.bias)
    pooler.load_state_dict({name: tensor.detach().double() for name, tensor in state.items()})
    return pooler


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_it_is_the_librarys_pooler(layers):
    tower = clip_tower("vjepa2", size=SIZE, frames=FRAMES).build()
    with seeded(3):
        probe = VJEPAProbeSpec(layers=layers).build(tower, frames=FRAMES)
        tokens = torch.randn(2 * FRAMES // 2, tower.shape.tokens, tower.shape.width)
    oracle.perturb(probe, seed=5)
    pooler = library_pooler(probe, layers)
    features = FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, {probe.tap: tokens})
    normalised = probe.final_norm.double()(tokens.double().unflatten(0, (2, -1)).flatten(1, 2))
    probe.final_norm.float()
    torch.testing.assert_close(probe(features).double(), pooler(normalised), rtol=1e-5, atol=1e-5)


def test_a_tower_of_frames_can_be_read():
    tower = oracle.make_tower(width=24)
    with seeded(3):
        probe = VJEPAProbeSpec(heads=2).build(tower, frames=3)
    tokens = {probe.tap: torch.randn(6, tower.shape.tokens, 24)}
    assert probe(FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, tokens)).shape == (2, 24)


def test_the_authors_counts():
    tower = ClipTowerSpec(model="vjepa2-vitl-fpc64-256", weights={"kind": "random"}).build("meta")
    with torch.device("meta"):
        probe = VJEPAProbeSpec().build(tower, frames=32)  # two clips of 16 frames: 4,096 tokens
        tokens = torch.empty(16, 256, 1024)
    trained = sum(parameter.numel() for parameter in probe.parameters() if parameter.requires_grad)
    assert trained + 174 * 1025 == 49_514_670
    features = FrozenFeatures(torch.empty(0), lambda video: video, tower.shape, {probe.tap: tokens})
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        probe(features)
    assert round(counter.get_total_flops() / 2e9) == 266


def test_branches_end_smaller_block_by_block():
    with seeded(0):
        probe = VJEPAProbeSpec(layers=4).build(clip_tower("vjepa2").build(), frames=8)
    deviations = [float(block.leave.weight.detach().std()) for block in probe.blocks]
    expected = [0.02 / (2 * number) ** 0.5 for number in (1, 2, 3)]
    assert deviations == pytest.approx(expected, rel=0.05)
    assert float(probe.query.mlp.narrow.weight.detach().std()) == pytest.approx(expected[2], rel=0.05)

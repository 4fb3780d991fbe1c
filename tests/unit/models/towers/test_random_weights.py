"""Random towers: the same everywhere for a seed, and fit to be learnt from."""

import pytest
import torch

from side4video.models.backbones import ViTSpec

SMALL = {"image_size": 64, "patch_size": 8, "width": 192, "head_width": 32, "precision": "fp32"}


def test_the_same_seed_gives_the_same_tower_whatever_was_drawn_before(family, build):
    first = build(family)
    torch.manual_seed(99)
    torch.rand(1000)
    assert build(family).fingerprint() == first.fingerprint()


def test_building_leaves_the_global_generator_alone(family, build):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build(family)
    build(family, device="meta")
    assert torch.equal(torch.get_rng_state(), before)


PINNED = "ac9eb9a819e6d3434aaaa86da25ae9f24d82780f477ed4f4e0a6f524c33e657d"
"""Of a tower of 2 blocks of 16 for 16 px, seed 4. If it changes, every result on a random tower does."""


def test_every_process_draws_the_same():
    spec = ViTSpec(
        weights={"kind": "random", "seed": 4},
        image_size=16,
        patch_size=8,
        width=16,
        layers=2,
        head_width=8,
        output_dim=8,
    )
    assert spec.build().fingerprint() == PINNED


def test_no_two_tensors_are_alike(build):
    state = build("clip").trunk.visual.state_dict()
    first, second = (state[f"transformer.resblocks.{index}.mlp.c_fc.weight"] for index in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("layers", [4, 12, 24])
def test_activations_neither_vanish_nor_explode(layers):
    tower = ViTSpec(weights={"kind": "random"}, layers=layers, **SMALL).build()
    frames = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    sizes = [tokens.square().mean().sqrt().item() for _, tokens in tower.stream(frames, range(layers))]
    assert all(0.5 < size < 5 for size in sizes)


@pytest.mark.parametrize("kind", ["eva-post-norm", "eva-pre-norm", "eva-rotary"])
def test_eva_activations_stay_in_range(build, frames_NCHW, kind):
    sizes = [tokens.square().mean().sqrt().item() for _, tokens in build(kind).stream(frames_NCHW, range(4))]
    assert all(0.01 < size < 10 for size in sizes)


def test_patches_and_frames_stay_apart():
    """What is in the frame must still be told from the last tokens; a collapsed tower would teach nothing."""
    tower = ViTSpec(weights={"kind": "random"}, layers=12, **SMALL).build()
    frames = torch.full((2, 3, 64, 64), 60, dtype=torch.uint8)
    frames[0, :, 8:16, 8:16] = 220
    frames[1, :, 40:48, 40:48] = 220
    tokens = tower(frames, [11])[11]
    change = (tokens[0] - tokens[1]).norm(dim=-1) / tokens[1].norm(dim=-1)
    moved = {1 + 1 * 8 + 1, 1 + 5 * 8 + 5}
    assert set(change.topk(2).indices.tolist()) == moved
    assert change[list(moved)].min() > 0.3

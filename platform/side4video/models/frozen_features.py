"""Computes frozen features, and converts them to and from the entries of a cache.

An entry is the smallest part that a student can read: one block's tokens (`tokens-3`), its queries and keys
(`attention-3`), the pooled feature (`pooled`), or the last class token (`class-token`). Entries have the tower's
precision, or eight bits if the tower stores tokens so. The conversion loses nothing.

Legend: B clips, T frames that the tower sees, or time steps of a tower that reads clips, N = B*T, P tokens of a frame,
or of a time step, D tower width, G groups of channels, h heads, k channels of a head.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING, FeatureRequest
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.networks.contract import FrozenFeatures, Neighbours
from side4video.models.towers.frozen_tower import FrozenTower

POOLED, CLASS_TOKEN = "pooled", "class-token"
_TOKENS, _ATTENTION = "tokens-", "attention-"
_EMBEDDING = "embedding"


def entry_layouts(
    shape: TowerShape, reads: FeatureRequest, *, frames: int, dtype: torch.dtype, keeps_int8: bool
) -> dict[str, dict[str, Tensor]]:
    """The tensors of one clip on `meta`, by entry and name.

    `frames` are those of a clip, including those that the tower does not see; `dtype` is that of the tower's tokens.
    Tokens may be stored in eight bits. A tower that reads clips has one pooled feature for a clip.
    """
    steps = shape.time_steps(len(range(0, frames, reads.every)))

    def numbers(*sizes: int, steps: int = steps) -> Tensor:
        return torch.empty((steps, *sizes), dtype=dtype, device="meta")

    layouts: dict[str, dict[str, Tensor]] = {}
    for tap in sorted(reads.tokens):
        name = _name(_TOKENS, tap)
        if keeps_int8:
            tokens = Int8Tokens.quantize(numbers(shape.tokens, shape.width))
            layouts[name] = {f"{name}.codes": tokens.codes_NPD, f"{name}.scales": tokens.scales_NPG}
        else:
            layouts[name] = {name: numbers(shape.tokens, shape.width)}
    for tap in sorted(reads.attention):
        name = _name(_ATTENTION, tap)
        heads = numbers(shape.heads, shape.tokens, shape.width // shape.heads)
        layouts[name] = {f"{name}.queries": heads, f"{name}.keys": heads}
    for name, is_read in ((POOLED, reads.pooled), (CLASS_TOKEN, reads.class_token)):
        if is_read:
            layouts[name] = {name: numbers(shape.width, steps=1 if shape.reads_clips else steps)}
    return layouts


def request_of(entries: Collection[str], every: int) -> FeatureRequest:
    """The request for these entries."""

    def taps(kind: str) -> frozenset[int]:
        named = [entry.removeprefix(kind) for entry in entries if entry.startswith(kind)]
        return frozenset(EMBEDDING if tap == _EMBEDDING else int(tap) for tap in named)

    return FeatureRequest(taps(_TOKENS), taps(_ATTENTION), POOLED in entries, CLASS_TOKEN in entries, every)


def to_entries(features: FrozenFeatures) -> dict[str, Tensor]:
    """The tensors of all entries [B, T, ...] by name, on the CPU."""
    clips = len(features.video_BTCHW)
    stored: dict[str, Tensor] = {}
    for tap, tokens in features.tokens.items():
        name = _name(_TOKENS, tap)
        if isinstance(tokens, Int8Tokens):
            stored |= {f"{name}.codes": tokens.codes_NPD, f"{name}.scales": tokens.scales_NPG}
        else:
            stored[name] = tokens
    for tap, (queries_NhPk, keys_NhPk) in features.attention.items():
        name = _name(_ATTENTION, tap)
        stored |= {f"{name}.queries": queries_NhPk, f"{name}.keys": keys_NhPk}
    for name, feature_BTD in ((POOLED, features.pooled_BTD), (CLASS_TOKEN, features.class_BTD)):
        if feature_BTD is not None:
            stored[name] = feature_BTD.flatten(0, 1)
    return {name: tensor.unflatten(0, (clips, -1)).cpu() for name, tensor in stored.items()}


def from_entries(
    tower: FrozenTower, video_BTCHW: Tensor, stored: Mapping[str, Tensor], *, reads: FeatureRequest
) -> FrozenFeatures:
    """Features from stored tensors, without running the tower.

    `stored` are the tensors of the entries that are read [B, T, ...], by name, on the students' device. The tower
    normalises the frames, uint8.
    """
    tokens: dict[int, Tensor | Int8Tokens] = {}
    for tap in sorted(reads.tokens):
        name = _name(_TOKENS, tap)
        if name in stored:
            tokens[tap] = stored[name].flatten(0, 1)
        else:
            tokens[tap] = Int8Tokens(stored[f"{name}.codes"].flatten(0, 1), stored[f"{name}.scales"].flatten(0, 1))
    attention = {
        tap: (
            stored[f"{_name(_ATTENTION, tap)}.queries"].flatten(0, 1),
            stored[f"{_name(_ATTENTION, tap)}.keys"].flatten(0, 1),
        )
        for tap in sorted(reads.attention)
    }
    pooled_BTD = stored[POOLED] if reads.pooled else None
    class_BTD = stored[CLASS_TOKEN] if reads.class_token else None
    return FrozenFeatures(video_BTCHW, tower.normalise, tower.shape, tokens, attention, pooled_BTD, class_BTD)


def empty_entries(layouts: Mapping[str, Mapping[str, Tensor]], clips: int, device: torch.device) -> dict[str, Tensor]:
    """Zeros with the shapes of the entries of `clips` clips, for a dry run."""
    return {
        name: torch.zeros((clips, *row.shape), dtype=row.dtype, device=device)
        for layout in layouts.values()
        for name, row in layout.items()
    }


def _name(kind: str, tap: int) -> str:
    return f"{kind}{_EMBEDDING if tap == EMBEDDING else tap}"


@torch.no_grad()
def frozen_features(tower: FrozenTower, video_BTCHW: Tensor, reads: FeatureRequest) -> FrozenFeatures:
    """Run the tower up to the last block that is read, and keep only what is read.

    The tower normalises the frames, uint8, chunk by chunk. It does not run if the request is empty.
    """
    tokens: dict[int, Tensor | Int8Tokens] = {}
    attention: dict[int, tuple[Tensor, Tensor]] = {}
    pooled_BTD = class_BTD = None
    last = tower.shape.depth - 1
    taps = reads.tokens | reads.attention | ({last} if reads.needs_last_block else set())
    if taps:
        frames_BTCHW = video_BTCHW[:, :: reads.every]
        reads_clips = tower.shape.reads_clips
        inputs = frames_BTCHW if reads_clips else frames_BTCHW.flatten(0, 1)
        clips = (frames_BTCHW.shape[0], -1)
        for index, tokens_NPD in tower.stream(inputs, taps, attention=reads.attention, into=attention):
            if index == last and reads.pooled:
                pooled_BTD = tower.pool(tokens_NPD).unflatten(0, clips)
            if index == last and reads.class_token:
                # A copy: a view would keep all the tokens of the block.
                class_BTD = tower.shape.class_token_of(tokens_NPD).clone().unflatten(0, clips)
            if index in reads.tokens:
                if reads_clips:
                    tokens_NPD = _by_time_step(tokens_NPD, tower.shape.time_steps(frames_BTCHW.shape[1]), tower.shape)
                tokens[index] = Int8Tokens.quantize(tokens_NPD) if tower.keeps_int8 else tokens_NPD
            del tokens_NPD
    return FrozenFeatures(video_BTCHW, tower.normalise, tower.shape, tokens, attention, pooled_BTD, class_BTD)


def _by_time_step(tokens_BSD: Tensor, steps: int, shape: TowerShape) -> Tensor:
    """The patches of each time step [N, P, D] from tokens of whole clips [B, S, D], without a clip's class token."""
    return tokens_BSD[:, -steps * shape.patches :].unflatten(1, (steps, shape.patches)).flatten(0, 1)


def features_of_batch(tower: FrozenTower, batch: Any, reads: FeatureRequest) -> FrozenFeatures:
    """The features of a batch: from its stored entries if there are any, or else from its frames."""
    stored = getattr(batch, "stored", None)
    if stored is not None:
        features = from_entries(tower, batch.video_BTCHW, stored, reads=reads)
    else:
        features = frozen_features(tower, batch.video_BTCHW, reads)
    mask_BT = getattr(batch, "frame_mask_BT", None)
    if mask_BT is None and not reads.neighbours:
        return features
    neighbours = None
    if reads.neighbours:
        around_BTKCHW = getattr(batch, "neighbours_BTKCHW", None)
        if around_BTKCHW is None or around_BTKCHW.shape[2] != 2 * reads.neighbours:
            raise ValueError(f"the method reads {reads.neighbours} neighbours of a frame on each side")
        neighbours = Neighbours(around_BTKCHW, tower.difference)
    return replace(features, frame_mask_BT=mask_BT, neighbours=neighbours)

"""One pass of the frozen tower for all the students of a pack.

Legend: B clips, T frames, C channels, H, W pixels, N frames the tower sees, P tokens of a frame, D tower width.
"""

from typing import Any

import torch
from torch import Tensor

from side4video.models.feature_entries import from_stored
from side4video.models.layers.eight_bit import EightBitTokens
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.reads import Reads
from side4video.models.towers.frozen_tower import FrozenTower


@torch.no_grad()
def frozen_features(tower: FrozenTower, video_BTCHW: Tensor, reads: Reads) -> FrozenFeatures:
    """Stream frames through the tower as deep as somebody reads, and keep only what is read.

    Args:
        tower: The frozen tower.
        video_BTCHW: Frames, uint8; the tower normalises them chunk by chunk.
        reads: What some student reads. Where nobody reads anything, the tower does not run.
    """
    tokens: dict[int, Tensor | EightBitTokens] = {}
    attention: dict[int, tuple[Tensor, Tensor]] = {}
    pooled_BTD = class_BTD = None
    last = tower.shape.depth - 1
    taps = reads.tokens | reads.attention | ({last} if reads.reads_the_last_block else set())
    if taps:
        seen_BTCHW = video_BTCHW[:, :: reads.every]
        for index, tokens_NPD in tower.stream(
            seen_BTCHW.flatten(0, 1), taps, attention=reads.attention, into=attention
        ):
            if index == last and reads.pooled:
                pooled_BTD = tower.pool(tokens_NPD).unflatten(0, seen_BTCHW.shape[:2])
            if index == last and reads.class_token:
                # A copy: a view would keep all the tokens of the block.
                class_BTD = tokens_NPD[:, 0].clone().unflatten(0, seen_BTCHW.shape[:2])
            if index in reads.tokens:
                tokens[index] = EightBitTokens.keep(tokens_NPD) if tower.keeps_eight_bits else tokens_NPD
            del tokens_NPD
    return FrozenFeatures(video_BTCHW, tower.normalise, tokens, attention, pooled_BTD, class_BTD)


def features_of_batch(tower: FrozenTower, batch: Any, reads: Reads) -> FrozenFeatures:
    """What the students of a pack read of a batch: what was kept of it, or else a pass over its frames."""
    stored = getattr(batch, "stored", None)
    if stored is not None:
        return from_stored(tower, batch.video_BTCHW, stored, reads=reads)
    return frozen_features(tower, batch.video_BTCHW, reads)

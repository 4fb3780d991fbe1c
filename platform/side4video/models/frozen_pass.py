"""One pass of the frozen tower for all the students of a pack.

Legend: B clips, T frames, C channels, H, W pixels, N = B·T, P tokens of a frame, D tower width.
"""

import torch
from torch import Tensor

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower


@torch.no_grad()
def frozen_features(tower: FrozenTower, video_BTCHW: Tensor, taps: frozenset[int], pooled: bool) -> FrozenFeatures:
    """Normalise frames, stream them through the tower as deep as somebody reads, and keep only what is read.

    Args:
        tower: The frozen tower.
        video_BTCHW: Frames, uint8.
        taps: Blocks that some student reads.
        pooled: Whether some student reads the pooled frame feature.
    """
    batch, frames = video_BTCHW.shape[:2]
    normalised_BTCHW = tower.normalise(video_BTCHW)
    last = tower.shape.depth - 1
    tokens = tower(normalised_BTCHW.flatten(0, 1), taps | {last} if pooled else taps)
    pooled_BTD = tower.pool(tokens[last]).unflatten(0, (batch, frames)) if pooled else None
    if last not in taps:
        tokens.pop(last, None)
    return FrozenFeatures(normalised_BTCHW, tokens, pooled_BTD)

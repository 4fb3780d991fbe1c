"""The network of full fine-tuning: the tower itself, trained.

Legend: B clips, T frames, N = B·T, S tokens of a frame, D tower width.
"""

from torch import Tensor, nn

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.trunk import Trunk

PROJECTIONS = frozenset({"proj", "head.weight", "head.bias"})
"""Names of the projection to the text space in CLIP's and EVA-CLIP's towers, which is not used here."""


def pooled_clips(trunk: Trunk, depth: int, features: FrozenFeatures) -> Tensor:
    """The pooled features [B, D] of a tower that reads clips, with a graph, under the caller's autocast."""
    tokens_BSD = trunk.embed(features.normalise(features.video_BTCHW))
    for index in range(depth):
        tokens_BSD = trunk.run_block(index, tokens_BSD)
    return trunk.pool(tokens_BSD)


def pooled_frames(trunk: Trunk, depth: int, features: FrozenFeatures) -> Tensor:
    """A tower's pooled frame features [N, D], with a graph through every block, under the caller's autocast."""
    tokens_NSD = trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
    for index in range(depth):
        tokens_NSD = tokens_NSD + trunk.attention_branch(index, tokens_NSD)
        tokens_NSD = tokens_NSD + trunk.mlp_branch(index, tokens_NSD)
    return trunk.pool(tokens_NSD)


class FullFineTuning(nn.Module):
    """Trains a tower's own weights, without a copy: after this the given tower is no longer frozen."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.output_dim = tower.shape.width
        self.depth = tower.shape.depth
        self.reads_clips = tower.shape.reads_clips
        self.trunk = tower.trunk
        for name, parameter in tower.trunk.visual.named_parameters():
            parameter.requires_grad_(name not in PROJECTIONS)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the mean over frames of the tower's pooled feature, under the caller's autocast.

        Of a tower that reads clips, its pooled feature of the clip.
        """
        if self.reads_clips:
            return pooled_clips(self.trunk, self.depth, features).float()
        batch, frames = features.video_BTCHW.shape[:2]
        return pooled_frames(self.trunk, self.depth, features).float().unflatten(0, (batch, frames)).mean(dim=1)

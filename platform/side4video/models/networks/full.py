"""Full fine-tuning's network: the tower itself, trained.

Legend: B clips, T frames, N = B·T, S tokens of a frame with [CLS], D tower width.
"""

from torch import Tensor, nn

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.trunk import Trunk

PROJECTIONS = frozenset({"proj", "head.weight", "head.bias"})
"""Parameters of the projection to the space shared with text, by the names of CLIP's and of EVA-CLIP's tower: nothing
here uses them."""


def pooled_frames(trunk: Trunk, depth: int, features: FrozenFeatures) -> Tensor:
    """A tower's pooled feature [N, D] of each frame, with a graph through every block, under the caller's autocast."""
    tokens_NSD = trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
    for index in range(depth):
        tokens_NSD = tokens_NSD + trunk.attention_branch(index, tokens_NSD)
        tokens_NSD = tokens_NSD + trunk.mlp_branch(index, tokens_NSD)
    return trunk.pool(tokens_NSD)


class FullFineTuning(nn.Module):
    """Takes a tower over: its weights become this network's own, are trained, and are not copied.

    The frozen tower that they came from is no longer frozen.
    """

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.output_dim = tower.shape.width
        self.depth = tower.shape.depth
        self.trunk = tower.trunk
        for name, parameter in tower.trunk.visual.named_parameters():
            parameter.requires_grad_(name not in PROJECTIONS)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the mean over frames of the tower's pooled feature, under the caller's autocast."""
        batch, frames = features.video_BTCHW.shape[:2]
        return pooled_frames(self.trunk, self.depth, features).float().unflatten(0, (batch, frames)).mean(dim=1)

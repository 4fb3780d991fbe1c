"""CLIP's own feature of a clip: each frame's feature normalised, and their mean (CLIP4Clip's `meanP`).

The cosine of it with a text is the mean of the frames' cosines, but for a factor that is the same for all texts.

Legend: B clips, T frames, E channels of the space shared with texts.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import FrozenFrames
from side4video.models.towers.frozen_tower import FrozenTower


class MeanFrame(nn.Module):
    """The mean over the frames of the tower's normalised features; nothing of it is trained."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.frames = FrozenFrames(tower).requires_grad_(False)
        self.output_dim = tower.shape.output_dim

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E], fp32."""
        return F.normalize(self.frames(features).float(), dim=-1).mean(dim=1)

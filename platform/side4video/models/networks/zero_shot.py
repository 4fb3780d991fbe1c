"""Zero-shot recognition: the mean of CLIP's frame features in the space of its texts, without training.

Legend: B clips, T frames, E channels of the space shared with texts.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import FrozenFrames
from side4video.models.towers.frozen_tower import FrozenTower


class FrozenMean(nn.Module):
    """The mean of normalised frame features, as in retrieval's mean matching (CLIP4Clip's meanP)."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.frames = FrozenFrames(tower).requires_grad_(False)
        self.output_dim = tower.shape.output_dim

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E]."""
        return F.normalize(self.frames(features), dim=-1).mean(dim=1)

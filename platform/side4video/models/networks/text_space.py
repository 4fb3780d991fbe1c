"""Networks for recognition whose features are in the space that the tower shares with texts.

They are compared with the features of class names, so the classes may change after training.

Legend: B clips, T frames, D tower width, E channels of the shared space.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import SideFrames
from side4video.models.towers.frozen_tower import FrozenTower


class SideClips(nn.Module):
    """The mean over frames of the side network's normalised frame features (eq. 4).

    At the start these are the frozen tower's: the model begins as zero-shot CLIP.
    """

    def __init__(self, frames: SideFrames, tower: FrozenTower) -> None:
        super().__init__()
        self.frames = frames
        self.output_dim = tower.shape.output_dim

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E] of the clips."""
        return F.normalize(self.frames(features), dim=-1).mean(dim=1)


class ProjectedClips(nn.Module):
    """A network that gives the tower's own feature of a clip, after the final norm, and a copy of its projection."""

    def __init__(self, network: nn.Module, tower: FrozenTower) -> None:
        super().__init__()
        self.network = network
        self.projection = Projection(tower)
        self.output_dim = tower.shape.output_dim

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E] of the clips."""
        return self.projection(self.network(features))


class Projection(nn.Module):
    """CLIP's `proj` (EVA-CLIP's `head`): a copy in fp32 that is trained at the rate of pretrained weights."""

    is_pretrained = True

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        last = tower.trunk.last_layers()
        self.weight_DE, self.bias_E = _copy_of(last.weight_DE), _copy_of(last.bias_E)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Features [B, E]; those of [B, D] where the tower has no projection (SigLIP)."""
        if self.weight_DE is None:
            return features_BD
        dtype = compute_dtype(self.weight_DE)
        bias_E = self.bias_E.to(dtype) if self.bias_E is not None else None
        return F.linear(features_BD.to(dtype), self.weight_DE.t().to(dtype), bias_E).float()


def _copy_of(source: Any) -> nn.Parameter | None:
    if source is None:
        return None
    copy = nn.Parameter(torch.empty(source.shape))
    if not source.is_meta:
        with torch.no_grad():
            copy.copy_(source)
    return copy

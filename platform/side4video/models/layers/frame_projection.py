"""Trainable copies of an image tower's last two layers: final norm, and projection to the texts' space.

Legend: B clips, T frames, D tower width, E channels of the space shared with texts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype
from side4video.models.towers.frozen_tower import FrozenTower


class FrameProjection(nn.Module):
    """CLIP's `ln_post` and `proj` (EVA-CLIP's `norm` and `head`), copied from a frozen tower in fp32."""

    is_pretrained = True
    """Marks pretrained weights, which can have their own learning rate."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        norm, weight_DE, bias_E = tower.trunk.last_layers()
        self.norm = nn.LayerNorm(tower.shape.width, eps=norm.eps)
        self.weight_DE = nn.Parameter(torch.empty(weight_DE.shape))
        self.bias_E = nn.Parameter(torch.empty(bias_E.shape)) if bias_E is not None else None
        pairs = [(self.norm.weight, norm.weight), (self.norm.bias, norm.bias), (self.weight_DE, weight_DE)]
        if self.bias_E is not None and bias_E is not None:
            pairs.append((self.bias_E, bias_E))
        with torch.no_grad():
            for own, source in pairs:
                if not source.is_meta:
                    own.copy_(source)

    def forward(self, class_BTD: Tensor) -> Tensor:
        """Features [B, T, E] of the last block's class tokens."""
        dtype = compute_dtype(self.weight_DE)
        normed_BTD = self.norm(class_BTD.to(self.norm.weight.dtype)).to(dtype)
        bias_E = self.bias_E.to(dtype) if self.bias_E is not None else None
        return F.linear(normed_BTD, self.weight_DE.t().to(dtype), bias_E)

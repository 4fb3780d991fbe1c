"""Trainable copies of an image tower's last layers: final norm, and projection to the texts' space.

Legend: B clips, T frames, D tower width, E channels of the space shared with texts.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype
from side4video.models.towers.frozen_tower import FrozenTower


class FrameProjection(nn.Module):
    """CLIP's `ln_post` and `proj` (EVA-CLIP's `norm` and `head`), copied from a frozen tower in fp32.

    A tower that pools by a mean or by attention has normalised its feature: then it is the projection alone, and
    nothing where the tower has none (SigLIP).
    """

    is_pretrained = True
    """Marks pretrained weights, which can have their own learning rate."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        last = tower.trunk.last_layers()
        self.norm = nn.LayerNorm(tower.shape.width) if tower.shape.pooling == "class-token" else None
        self.weight_DE, self.bias_E = _empty_as(last.weight_DE), _empty_as(last.bias_E)
        pairs: list[tuple[Tensor | None, Any]] = [(self.weight_DE, last.weight_DE), (self.bias_E, last.bias_E)]
        if self.norm is not None:
            norm = cast("nn.LayerNorm", last.norm)
            self.norm.eps = norm.eps
            pairs += [(self.norm.weight, norm.weight), (self.norm.bias, norm.bias)]
        with torch.no_grad():
            for own, source in pairs:
                if own is not None and not source.is_meta:
                    own.copy_(source)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """Features [B, T, E] of the frames' features before these layers (`frame_features`)."""
        if self.norm is not None:
            frames_BTD = self.norm(frames_BTD.to(self.norm.weight.dtype))
        if self.weight_DE is None:
            return frames_BTD
        dtype = compute_dtype(self.weight_DE)
        bias_E = self.bias_E.to(dtype) if self.bias_E is not None else None
        return F.linear(frames_BTD.to(dtype), self.weight_DE.t().to(dtype), bias_E)


def _empty_as(source: Tensor | None) -> nn.Parameter | None:
    return None if source is None else nn.Parameter(torch.empty(source.shape))

"""The Side4Video network (section 3.3, Figure 3), on tokens that keep their channels last throughout.

Legend: B clips, T frames, N = B·T, P patch tokens of a frame, S = P + 1 tokens with [CLS], D tower width, d side
width (written D where no tower token is near), C channels of a frame.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.temporal import DepthwiseTemporalConvolution, TemporalPatchEmbedding, shift_over_time
from side4video.models.networks.contract import FrozenFeatures

HEAD_WIDTH = 64
RESIDUAL_SCALE = 24**-0.5
"""The authors' code scales the initial residual projections by this for every tower: twice ViT-B's depth."""


class Down(nn.Module):
    """Down(Norm(Z)) of eq. 1: one layer norm and one projection for each tapped block."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, dim)

    def forward(self, tokens_NSD: Tensor) -> Tensor:
        """Tower tokens [N, S, D] to side tokens [N, S, d]."""
        return self.projection(self.norm(tokens_NSD.to(self.norm.weight.dtype)))


class TemporalConvolution(nn.Module):
    """Norm, then pointwise, depthwise over time, pointwise (section 3.3), without an activation between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = TokenBatchNorm(dim)
        self.enter = nn.Linear(dim, dim)
        self.mix = DepthwiseTemporalConvolution(dim)
        self.leave = nn.Linear(dim, dim)
        for pointwise in (self.enter, self.leave):
            # A 1x1x1 Conv3d starts as a Linear does: uniform within 1/sqrt(dim), bias too.
            pointwise.reset_parameters()

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """The branch's output, to be added to its input."""
        return self.leave(self.mix(self.enter(self.norm(tokens_BTPD))))


class ShiftAttention(nn.Module):
    """Spatial attention of the patches over the patches and the shifted [CLS] token of the tower (section 3.3)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_WIDTH
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.leave = nn.Linear(dim, dim)
        nn.init.normal_(self.query_key_value.weight, std=dim**-0.5)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.normal_(self.leave.weight, std=dim**-0.5 * RESIDUAL_SCALE)
        nn.init.zeros_(self.leave.bias)

    def forward(self, tokens_BTPD: Tensor, cls_BTD: Tensor | None) -> Tensor:
        """The branch's output [B, T, P, D]; without `cls_BTD` the patches see only each other."""
        batch, frames, patches, dim = tokens_BTPD.shape
        seen_BTSD = tokens_BTPD if cls_BTD is None else torch.cat([cls_BTD.unsqueeze(2), tokens_BTPD], dim=2)
        seen_NSD = self.norm(seen_BTSD).flatten(0, 1)
        query_key_value = self.query_key_value(seen_NSD).unflatten(-1, (3, self.heads, HEAD_WIDTH))
        query, key, value = query_key_value.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query[:, :, -patches:], key, value)
        return self.leave(attended.transpose(1, 2).reshape(batch, frames, patches, dim))


class Perceptron(nn.Module):
    """Norm, then two layers with an exact GELU between them."""

    def __init__(self, dim: int, *, ratio: int) -> None:
        super().__init__()
        self.norm = TokenBatchNorm(dim)
        self.enter = nn.Linear(dim, ratio * dim)
        self.leave = nn.Linear(ratio * dim, dim)
        nn.init.normal_(self.enter.weight, std=(2 * dim) ** -0.5)
        nn.init.normal_(self.leave.weight, std=dim**-0.5 * RESIDUAL_SCALE)

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """The branch's output, to be added to its input."""
        return self.leave(F.gelu(self.enter(self.norm(tokens_BTPD))))


class SideBlock(nn.Module):
    """One block: fuse, mix over time, attend over space, mix over channels."""

    def __init__(
        self, width: int, dim: int, *, mlp_ratio: int, mixing: Literal["add", "mean"], cls_shift: bool
    ) -> None:
        super().__init__()
        self.mixing, self.cls_shift = mixing, cls_shift
        self.down = Down(width, dim)
        self.temporal = TemporalConvolution(dim)
        self.attention = ShiftAttention(dim)
        self.perceptron = Perceptron(dim, ratio=mlp_ratio)

    def forward(self, side_BTPD: Tensor, tower_NSD: Tensor, spatial_PD: Tensor | None) -> Tensor:
        """The side stream [B, T, P, d] after this block, from the tapped tokens [N, S, D]."""
        batch, frames = side_BTPD.shape[:2]
        read_BTSD = self.down(tower_NSD).unflatten(0, (batch, frames))
        cls_BTD, patches_BTPD = read_BTSD[:, :, 0], read_BTSD[:, :, 1:]
        side_BTPD = side_BTPD + patches_BTPD if self.mixing == "add" else torch.lerp(side_BTPD, patches_BTPD, 0.5)
        side_BTPD = side_BTPD + self.temporal(side_BTPD)
        placed_BTPD = side_BTPD if spatial_PD is None else side_BTPD + spatial_PD
        shifted_BTD = shift_over_time(cls_BTD) if self.cls_shift else None
        side_BTPD = side_BTPD + self.attention(placed_BTPD, shifted_BTD)
        return side_BTPD + self.perceptron(side_BTPD)


class Side4Video(nn.Module):
    """The side network for recognition: stem, blocks, norm, global average pooling over time and space (eq. 3)."""

    def __init__(
        self,
        *,
        tower: TowerShape,
        taps: tuple[int, ...],
        dim: int,
        mlp_ratio: int = 4,
        mixing: Literal["add", "mean"] = "add",
        cls_shift: bool = True,
        extras: frozenset[str] = frozenset({"stem_norm", "spatial_embedding", "final_norm"}),
    ) -> None:
        super().__init__()
        self.taps = taps
        self.output_dim = dim
        self.stem = TemporalPatchEmbedding(dim, patch_size=tower.patch_size)
        self.stem_norm = TokenBatchNorm(dim) if "stem_norm" in extras else nn.Identity()
        self.spatial_PD = (
            nn.Parameter(torch.empty(tower.patches, dim).normal_(std=0.01)) if "spatial_embedding" in extras else None
        )
        self.blocks = nn.ModuleList(
            SideBlock(tower.width, dim, mlp_ratio=mlp_ratio, mixing=mixing, cls_shift=cls_shift) for _ in taps
        )
        self.final_norm = TokenBatchNorm(dim) if "final_norm" in extras else nn.Identity()

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, d] of the clips."""
        side_BTPD = self.stem_norm(self.stem(features.normalise(features.video_BTCHW)))
        for tap, block in zip(self.taps, self.blocks, strict=True):
            side_BTPD = block(side_BTPD, features.read(tap), self.spatial_PD)
        return self.final_norm(side_BTPD).float().mean(dim=(1, 2))

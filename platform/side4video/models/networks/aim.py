"""The network of AIM (Yang et al., 2023, figure 2): a frozen tower whose attention also runs over time, and adapters.

Legend: B clips, T frames, N = B·T, S tokens of a frame, D tower width.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.drop_path import DropPath
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures, SharedTower
from side4video.models.towers.frozen_tower import FrozenTower


class Adapter(nn.Module):
    """Down, exact GELU, up, without a residual connection. The second layer starts at zero."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, dim)
        self.leave = nn.Linear(dim, width)
        nn.init.trunc_normal_(self.enter.weight, std=0.02)
        for zero in (self.enter.bias, self.leave.weight, self.leave.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor) -> Tensor:
        """The output for tokens [..., D], in their precision."""
        return self.leave(F.gelu(self.enter(tokens.to(compute_dtype(self.enter.weight))))).to(tokens.dtype)


class Block(nn.Module):
    """One frozen block with its adapters."""

    def __init__(
        self, index: int, width: int, *, dim: int, temporal_adapters: int, drop_path: float, scale: float
    ) -> None:
        super().__init__()
        self.index, self.scale = index, scale
        self.temporal_in = Adapter(width, dim) if temporal_adapters > 1 else None
        self.temporal_out = Adapter(width, dim)
        self.spatial = Adapter(width, dim)
        self.joint = Adapter(width, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens_NSD: Tensor, tower: FrozenTower, *, frames: int) -> Tensor:
        """The residual stream after temporal, spatial and joint adaptation."""
        trunk, index = tower.trunk, self.index
        tokens_NSD = tokens_NSD + self._over_time(tokens_NSD, tower, frames=frames)
        with tower.own_precision():
            attended_NSD = trunk.run_attention(index, trunk.attention_norm(index, tokens_NSD))
        tokens_NSD = tokens_NSD + attended_NSD + self.spatial(attended_NSD)
        with tower.own_precision():
            normed_NSD = trunk.mlp_norm(index, tokens_NSD)
            hidden_NSD = trunk.run_mlp(index, normed_NSD)
        joint_BTSD = (self.scale * self.joint(normed_NSD)).unflatten(0, (-1, frames))
        return tokens_NSD + hidden_NSD + self.drop_path(joint_BTSD).flatten(0, 1)

    def _over_time(self, tokens_NSD: Tensor, tower: FrozenTower, *, frames: int) -> Tensor:
        """The frozen norm and attention a second time: each position of a frame attends over time."""
        positions = tokens_NSD.shape[1]
        with tower.own_precision():
            normed_NSD = tower.trunk.attention_norm(self.index, tokens_NSD)
        series = rearrange(normed_NSD, "(B T) S D -> (B S) T D", T=frames)
        if self.temporal_in is not None:
            series = series + self.temporal_in(series)
        with tower.own_precision():
            attended = tower.trunk.run_attention(self.index, series)
        # Drop path drops whole clips, so the clips are the first axis.
        adapted_BSTD = self.drop_path(rearrange(self.temporal_out(attended), "(B S) T D -> B S T D", S=positions))
        return rearrange(adapted_BSTD, "B S T D -> (B T) S D")


class AIM(nn.Module):
    """A frozen tower, a learned temporal embedding, adapters in every block, and the tower's final norm, trained."""

    def __init__(
        self,
        tower: FrozenTower,
        *,
        frames: int,
        temporal_adapters: int,
        dim: int,
        scale: float = 1.0,
        drop_path: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.borrowed = SharedTower(tower)
        shape = tower.shape
        self.output_dim = shape.width
        self.positions_TD = nn.Parameter(torch.zeros(frames, shape.width))
        self.blocks = nn.ModuleList(
            Block(
                index,
                shape.width,
                dim=dim,
                temporal_adapters=temporal_adapters,
                drop_path=drop_path * index / max(1, shape.depth - 1),
                scale=scale,
            )
            for index in range(shape.depth)
        )
        self.final_norm = nn.LayerNorm(shape.width, eps=shape.layer_norm_epsilon)
        self._copy_final_norm(tower)
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def _copy_final_norm(self, tower: FrozenTower) -> None:
        """Copy the tower's final norm, in fp32, unless the tower is on `meta`."""
        for name, parameter in self.final_norm.named_parameters():
            source = tower.trunk.visual.get_parameter(f"ln_post.{name}")
            if not source.is_meta:
                parameter.copy_(source)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the mean over frames of the normalised class token."""
        tower = self.borrowed.tower
        batch, frames = features.video_BTCHW.shape[:2]
        added_N1D = self.positions_TD.to(tower.dtype).repeat(batch, 1).unsqueeze(1)
        with tower.own_precision():
            tokens_NSD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1), added_N1D)
        for block in self.blocks:
            tokens_NSD = block(tokens_NSD, tower, frames=frames)
        normed_ND = self.final_norm(tower.shape.class_token_of(tokens_NSD).to(self.final_norm.weight.dtype))
        return self.dropout(normed_ND.float().unflatten(0, (batch, frames)).mean(dim=1))

"""The network of ladder side-tuning: a narrow transformer that reads a tower's blocks through learned gates.

Legend: B clips, T frames, N = B·T, S tokens of a frame, D tower width, d side width, h heads, k channels of a head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.feature_request import EMBEDDING
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures

TEMPERATURE = 0.1
"""Temperature of the gates (the authors: 0.1)."""


class Attention(nn.Module):
    """Pre-norm attention over the tokens of a frame."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.leave = nn.Linear(dim, dim)

    def forward(self, tokens_NSd: Tensor) -> Tensor:
        """The branch's output, without the residual connection."""
        entered = self.query_key_value(self.norm(tokens_NSd))
        query, key, value = rearrange(entered, "N S (qkv h k) -> qkv N h S k", qkv=3, h=self.heads)
        mixed_NhSk = F.scaled_dot_product_attention(query, key, value)
        return self.leave(rearrange(mixed_NhSk, "N h S k -> N S (h k)"))


class MLP(nn.Module):
    """Pre-norm MLP with an exact GELU."""

    def __init__(self, dim: int, *, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.enter = nn.Linear(dim, hidden)
        self.leave = nn.Linear(hidden, dim)

    def forward(self, tokens_NSd: Tensor) -> Tensor:
        """The branch's output, without the residual connection."""
        return self.leave(F.gelu(self.enter(self.norm(tokens_NSd))))


class Rung(nn.Module):
    """One rung of the ladder: a gate between side stream and tower, then a side block."""

    def __init__(self, width: int, dim: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))
        self.down = nn.Linear(width, dim)
        self.attention = Attention(dim, heads=heads)
        self.perceptron = MLP(dim, hidden=hidden)

    def forward(self, side_NSd: Tensor, tower_NSD: Tensor) -> Tensor:
        """The side stream [N, S, d] after this rung, from the tapped tokens [N, S, D]."""
        read_NSd = self.down(tower_NSD.to(compute_dtype(self.down.weight))).to(side_NSd.dtype)
        side_NSd = torch.lerp(read_NSd, side_NSd, torch.sigmoid(self.gate / TEMPERATURE).to(side_NSd.dtype))
        side_NSd = side_NSd + self.attention(side_NSd)
        return side_NSd + self.perceptron(side_NSd)


class LadderSideTuning(nn.Module):
    """The ladder: embeddings, one rung per tapped block, norm, up to the tower's width, mean class token."""

    def __init__(self, *, width: int, taps: tuple[int, ...], dim: int, heads: int, hidden: int, frames: int) -> None:
        super().__init__()
        self.taps, self.frames = taps, frames
        self.output_dim = width
        self.enter = nn.Linear(width, dim)
        self.rungs = nn.ModuleList(Rung(width, dim, heads=heads, hidden=hidden) for _ in taps)
        self.final_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, width)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]."""
        # Frozen tokens may be in half precision; the trained residual stream is fp32.
        side_NSd = self.enter(features.read(EMBEDDING).to(compute_dtype(self.enter.weight))).float()
        for tap, rung in zip(self.taps, self.rungs, strict=True):
            side_NSd = rung(side_NSd, features.read(tap))
        lifted_ND = self.up(self.final_norm(features.layout.class_token_of(side_NSd)))
        return lifted_ND.float().unflatten(0, (-1, self.frames)).mean(dim=1)

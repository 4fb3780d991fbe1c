"""Ladder side-tuning's network, beside an image tower: a narrow transformer fed through learned gates.

Legend: B clips, T frames, N = B·T, S tokens of a frame with [CLS], D tower width, d side width, h heads, k channels of
a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.feature_request import EMBEDDING
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures

TEMPERATURE = 0.1
"""Of the gates (the authors': 0.1): ten times steeper than a plain sigmoid."""


class Attention(nn.Module):
    """Pre-norm attention over the tokens of a frame."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.leave = nn.Linear(dim, dim)

    def forward(self, tokens_NSd: Tensor) -> Tensor:
        """The branch's output, to be added to its input."""
        query_key_value = self.query_key_value(self.norm(tokens_NSd)).unflatten(-1, (3, self.heads, -1))
        query_NhSk, key_NhSk, value_NhSk = query_key_value.permute(2, 0, 3, 1, 4).unbind(0)
        mixed_NhSk = F.scaled_dot_product_attention(query_NhSk, key_NhSk, value_NhSk)
        return self.leave(mixed_NhSk.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Pre-norm MLP with an exact GELU."""

    def __init__(self, dim: int, *, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.enter = nn.Linear(dim, hidden)
        self.leave = nn.Linear(hidden, dim)

    def forward(self, tokens_NSd: Tensor) -> Tensor:
        """The branch's output, to be added to its input."""
        return self.leave(F.gelu(self.enter(self.norm(tokens_NSd))))


class Rung(nn.Module):
    """One rung of the ladder: the gate between side stream and tower, and the side block behind it."""

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
    """The ladder: embeddings in, a rung a tapped block, norm, up to the tower's width, mean over frames of [CLS]."""

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
        # Frozen tokens may be in half precision; the residual stream of what is trained is not.
        side_NSd = self.enter(features.read(EMBEDDING).to(compute_dtype(self.enter.weight))).float()
        for tap, rung in zip(self.taps, self.rungs, strict=True):
            side_NSd = rung(side_NSd, features.read(tap))
        lifted_ND = self.up(self.final_norm(side_NSd[:, 0]))
        return lifted_ND.float().unflatten(0, (-1, self.frames)).mean(dim=1)

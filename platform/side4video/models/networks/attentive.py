"""The attentive probe's network: learned queries read all tokens of a clip.

Legend: B clips, T frames, N = B·T, S tokens of a frame with [CLS], M = T·S tokens of a clip, Q queries, D tower width,
h heads, k channels of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.contract import FrozenFeatures

INITIAL_STD = 0.02


class ReadingLayer(nn.Module):
    """Cross-attention of the queries over the tokens, then an MLP, both pre-norm with a residual."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, mlp_ratio * width)
        self.narrow = nn.Linear(mlp_ratio * width, width)
        for linear in (self.query, self.key_value, self.leave, self.widen, self.narrow):
            nn.init.trunc_normal_(linear.weight, std=INITIAL_STD)
            nn.init.zeros_(linear.bias)

    def forward(self, queries_BQD: Tensor, seen_BMD: Tensor) -> Tensor:
        """The queries [B, Q, D] after this layer, from the clip's tokens [B, M, D], normalised."""
        queries_BQD = queries_BQD + self._attend(self.query_norm(queries_BQD), seen_BMD)
        return queries_BQD + self.narrow(F.gelu(self.widen(self.perceptron_norm(queries_BQD))))

    def _attend(self, asked_BQD: Tensor, seen_BMD: Tensor) -> Tensor:
        query_BhQk = self.query(asked_BQD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key_value = self.key_value(seen_BMD).unflatten(-1, (2, self.heads, -1))
        key_BhMk, value_BhMk = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BhQk = F.scaled_dot_product_attention(query_BhQk, key_BhMk, value_BhMk)
        return self.leave(mixed_BhQk.transpose(1, 2).flatten(2))


class AttentiveProbe(nn.Module):
    """Learned queries, layers that read, and the mean of the queries."""

    def __init__(
        self,
        *,
        tap: int,
        width: int,
        frames: int,
        queries: int = 1,
        layers: int = 1,
        heads: int = 12,
        mlp_ratio: int = 4,
        temporal_positions: bool = True,
    ) -> None:
        super().__init__()
        self.tap, self.frames = tap, frames
        self.output_dim = width
        self.queries_QD = nn.Parameter(nn.init.trunc_normal_(torch.empty(queries, width), std=INITIAL_STD))
        self.positions_TD = nn.Parameter(torch.zeros(frames, width)) if temporal_positions else None
        self.token_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(ReadingLayer(width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(layers))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]."""
        tokens_BTSD = features.read(self.tap).unflatten(0, (-1, self.frames))
        seen_BTSD = self.token_norm(tokens_BTSD.to(self.token_norm.weight.dtype))
        if self.positions_TD is not None:
            # Behind the norm, where they are of the tokens' size: a tower's few huge channels would drown them before.
            seen_BTSD = seen_BTSD + self.positions_TD.unsqueeze(1)
        # A copy: counters of multiply-adds stumble over a view of a parameter that enters a module.
        queries_BQD = self.queries_QD.repeat(tokens_BTSD.shape[0], 1, 1)
        for layer in self.layers:
            queries_BQD = layer(queries_BQD, seen_BTSD.flatten(1, 2))
        return queries_BQD.float().mean(dim=1)

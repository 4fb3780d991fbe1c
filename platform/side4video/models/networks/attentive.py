"""The attentive probe's network: learned queries read all tokens of a clip.

Legend: B clips, T frames, N = B·T, S tokens of a frame, M = T·S tokens of a clip, Q queries, D tower width,
h heads, k channels of a head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.contract import FrozenFeatures

INITIAL_STD = 0.02


class CrossAttentionLayer(nn.Module):
    """Cross-attention of the queries over the tokens, then an MLP; both are pre-norm with a residual connection."""

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

    def forward(self, queries_BQD: Tensor, tokens_BMD: Tensor) -> Tensor:
        """The queries [B, Q, D] after this layer. The clip's tokens [B, M, D] are normalised already."""
        queries_BQD = queries_BQD + self._attention(self.query_norm(queries_BQD), tokens_BMD)
        return queries_BQD + self.narrow(F.gelu(self.widen(self.perceptron_norm(queries_BQD))))

    def _attention(self, queries_BQD: Tensor, tokens_BMD: Tensor) -> Tensor:
        query_BhQk = rearrange(self.query(queries_BQD), "B Q (h k) -> B h Q k", h=self.heads)
        key_value = rearrange(self.key_value(tokens_BMD), "B M (kv h k) -> kv B h M k", kv=2, h=self.heads)
        mixed_BhQk = F.scaled_dot_product_attention(query_BhQk, *key_value.unbind(0))
        return self.leave(rearrange(mixed_BhQk, "B h Q k -> B Q (h k)"))


class AttentiveProbe(nn.Module):
    """Learned queries, layers of cross-attention, and the mean of the queries."""

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
        self.layers = nn.ModuleList(CrossAttentionLayer(width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(layers))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]."""
        tokens_BTSD = features.read(self.tap).unflatten(0, (-1, self.frames))
        normed_BTSD = self.token_norm(tokens_BTSD.to(self.token_norm.weight.dtype))
        if self.positions_TD is not None:
            # After the norm: before it, a few channels of the tower are much larger than the positions.
            normed_BTSD = normed_BTSD + self.positions_TD.unsqueeze(1)
        # A copy: counters of multiply-adds fail on a view of a parameter as a module's input.
        queries_BQD = self.queries_QD.repeat(tokens_BTSD.shape[0], 1, 1)
        for layer in self.layers:
            queries_BQD = layer(queries_BQD, normed_BTSD.flatten(1, 2))
        return queries_BQD.float().mean(dim=1)

"""The network of V-JEPA 2's attentive probe.

Legend: B clips, T time steps, S tokens of a time step, M = T·S tokens of a clip, D tower width, h heads, k channels of
a head.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.frozen_copy import frozen_copy
from side4video.models.layers.pre_norm_mlp import PreNormMLP
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower

INITIAL_STD = 0.02


class ProbeBlock(nn.Module):
    """A pre-norm block of self-attention and MLP over the tokens of a clip."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)
        self.mlp = PreNormMLP(width, ratio=mlp_ratio)

    def forward(self, tokens_BMD: Tensor) -> Tensor:
        """Tokens [B, M, D]."""
        parts = rearrange(
            self.query_key_value(self.attention_norm(tokens_BMD)), "B M (n h k) -> n B h M k", n=3, h=self.heads
        )
        mixed_BhMk = F.scaled_dot_product_attention(*parts.unbind(0))
        tokens_BMD = tokens_BMD + self.leave(rearrange(mixed_BhMk, "B h M k -> B M (h k)"))
        return tokens_BMD + self.mlp(tokens_BMD)


class ProbeQuery(nn.Module):
    """Cross-attention of one learned query over the tokens, and an MLP."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_D = nn.Parameter(torch.empty(width))
        self.token_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mlp = PreNormMLP(width, ratio=mlp_ratio)

    def forward(self, tokens_BMD: Tensor) -> Tensor:
        """The query [B, D] after the block."""
        # A copy: counters of multiply-adds fail on a view of a parameter as a module's input.
        query_B1D = self.query_D.repeat(tokens_BMD.shape[0], 1, 1)
        parts = rearrange(self.key_value(self.token_norm(tokens_BMD)), "B M (n h k) -> n B h M k", n=2, h=self.heads)
        asked_Bh1k = rearrange(self.query(query_B1D), "B Q (h k) -> B h Q k", h=self.heads)
        mixed_Bh1k = F.scaled_dot_product_attention(asked_Bh1k, *parts.unbind(0))
        query_B1D = query_B1D + rearrange(mixed_Bh1k, "B h Q k -> B Q (h k)")
        return (query_B1D + self.mlp(query_B1D)).squeeze(1)


class VJEPAProbe(nn.Module):
    """The tower's final norm, blocks of self-attention, and a query."""

    def __init__(self, tower: FrozenTower, *, steps: int, layers: int = 4, heads: int = 16, mlp_ratio: int = 4) -> None:
        """`steps` are the time steps of a clip; `layers` counts the block of the query too."""
        super().__init__()
        width = tower.shape.width
        self.tap, self.steps, self.output_dim = tower.shape.depth - 1, steps, width
        self.final_norm = frozen_copy(tower.trunk.last_layers().norm)
        self.blocks = nn.ModuleList(ProbeBlock(width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(layers - 1))
        self.query = ProbeQuery(width, heads=heads, mlp_ratio=mlp_ratio)
        self._initialize()

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]."""
        tokens_BMD = features.read(self.tap).unflatten(0, (-1, self.steps)).flatten(1, 2)
        tokens_BMD = self.final_norm(tokens_BMD.float())
        for block in self.blocks:
            tokens_BMD = block(tokens_BMD)
        return self.query(tokens_BMD).float()

    @torch.no_grad()
    def _initialize(self) -> None:
        """Truncated N(0, 0.02) with zero biases. What ends a branch of block i is divided by sqrt(2 i), i from 1.

        The authors' code divides the MLP of the query's block as that of the block before it, and so does this.
        """
        for module in (*self.blocks.modules(), *self.query.modules()):
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.query.query_D, std=INITIAL_STD)
        for number, block in enumerate(cast("Iterable[ProbeBlock]", self.blocks), 1):
            for linear in (block.leave, block.mlp.narrow):
                linear.weight.div_(math.sqrt(2 * number))
        self.query.mlp.narrow.weight.div_(math.sqrt(2 * max(1, len(self.blocks))))

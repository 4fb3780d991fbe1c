"""ST-Adapter's network: bottlenecks with a convolution over time, inside a frozen tower (Pan et al., 2022, figure 2).

The graph runs through every block behind the first adapter, so activations of the frozen blocks are kept too: for
their norms, their attention and their MLP's activation (never the inputs of a frozen matrix, whose weight learns
nothing).

Legend: B clips, T frames, N = B·T, P patch tokens of a frame, S = P + 1 tokens with [CLS], D tower width, C channels.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution
from side4video.models.networks.contract import BorrowedTower, FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower


class Adapter(nn.Module):
    """Down, 3x1x1 depthwise convolution, up; neither an activation nor a norm (the released code has none).

    The convolution starts at zero, and so does what the adapter adds.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, dim)
        self.mix = DepthwiseTemporalConvolution(dim)
        self.leave = nn.Linear(dim, width)
        for zero in (self.enter.bias, self.mix.weight_3D, self.mix.bias_D, self.leave.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens_NSD: Tensor, *, frames: int) -> Tensor:
        """The residual stream with its patches adapted; [CLS] stays as it is."""
        patches_BTPD = tokens_NSD[:, 1:].to(compute_dtype(self.enter.weight)).unflatten(0, (-1, frames))
        added_NPD = self.leave(self.mix(self.enter(patches_BTPD))).flatten(0, 1)
        return tokens_NSD + F.pad(added_NPD.to(tokens_NSD.dtype), (0, 0, 1, 0))


class STAdapter(nn.Module):
    """A frozen tower with an adapter in front of each block's MLP, or in front of its attention as well."""

    def __init__(
        self, tower: FrozenTower, *, dim: int, positions: Literal["pre-mlp", "both"], dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.borrowed = BorrowedTower(tower)
        self.output_dim = tower.shape.width
        blocks = range(tower.shape.depth)
        self.before_attention = nn.ModuleList(
            Adapter(tower.shape.width, dim) for _ in (blocks if positions == "both" else ())
        )
        self.before_perceptron = nn.ModuleList(Adapter(tower.shape.width, dim) for _ in blocks)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the tower's final norm of the mean over frames of [CLS]."""
        tower = self.borrowed.tower
        batch, frames = features.video_BTCHW.shape[:2]
        with tower.own_precision():
            # Nothing here is trained or asks for a gradient, so no graph begins before the first adapter.
            tokens_NSD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        for index in range(tower.shape.depth):
            if self.before_attention:
                tokens_NSD = self.before_attention[index](tokens_NSD, frames=frames)
            with tower.own_precision():
                tokens_NSD = tokens_NSD + tower.trunk.attention_branch(index, tokens_NSD)
            tokens_NSD = self.before_perceptron[index](tokens_NSD, frames=frames)
            with tower.own_precision():
                tokens_NSD = tokens_NSD + tower.trunk.mlp_branch(index, tokens_NSD)
        mean_B1D = tokens_NSD[:, 0].float().unflatten(0, (batch, frames)).mean(dim=1, keepdim=True)
        with tower.own_precision():
            pooled_BD = tower.trunk.pool(mean_B1D.to(tower.dtype))
        return self.dropout(pooled_BD.float())

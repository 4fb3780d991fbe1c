"""The network of ST-Adapter (Pan et al., 2022, figure 2): bottlenecks with a temporal convolution in a frozen tower.

The graph contains every block after the first adapter. Backward therefore saves activations of frozen blocks too: for
their norms, attention and the MLP's activation function, but not the inputs of frozen matrices.

Legend: B clips, T frames, N = B·T, P patches of a frame, S tokens of a frame, D tower width.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution
from side4video.models.networks.contract import FrozenFeatures, SharedTower
from side4video.models.towers.frozen_tower import FrozenTower


class Adapter(nn.Module):
    """Down, 3x1x1 depthwise convolution, up; no activation function and no norm (as in the released code).

    The convolution starts at zero, so the adapter's output does.
    """

    def __init__(self, tower: TowerShape, dim: int) -> None:
        super().__init__()
        self.tower = tower
        width = tower.width
        self.enter = nn.Linear(width, dim)
        self.mix = DepthwiseTemporalConvolution(dim)
        self.leave = nn.Linear(dim, width)
        for zero in (self.enter.bias, self.mix.weight_3D, self.mix.bias_D, self.leave.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens_NSD: Tensor, *, frames: int) -> Tensor:
        """The residual stream with its patches adapted; prefix tokens are unchanged."""
        patches_BTPD = (
            self.tower.patch_tokens(tokens_NSD).to(compute_dtype(self.enter.weight)).unflatten(0, (-1, frames))
        )
        added_NPD = self.leave(self.mix(self.enter(patches_BTPD))).flatten(0, 1)
        return tokens_NSD + F.pad(added_NPD.to(tokens_NSD.dtype), (0, 0, self.tower.prefix_tokens, 0))


class STAdapter(nn.Module):
    """A frozen tower with an adapter before each block's MLP, or before its attention too."""

    def __init__(
        self, tower: FrozenTower, *, dim: int, positions: Literal["pre-mlp", "both"], dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.borrowed = SharedTower(tower)
        self.output_dim = tower.shape.width
        blocks = range(tower.shape.depth)
        self.before_attention = nn.ModuleList(
            Adapter(tower.shape, dim) for _ in (blocks if positions == "both" else ())
        )
        self.before_perceptron = nn.ModuleList(Adapter(tower.shape, dim) for _ in blocks)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the tower's final norm of the mean class token over frames."""
        tower = self.borrowed.tower
        batch, frames = features.video_BTCHW.shape[:2]
        with tower.own_precision():
            # Nothing here requires a gradient, so the graph begins at the first adapter.
            tokens_NSD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        for index in range(tower.shape.depth):
            if self.before_attention:
                tokens_NSD = self.before_attention[index](tokens_NSD, frames=frames)
            with tower.own_precision():
                tokens_NSD = tokens_NSD + tower.trunk.attention_branch(index, tokens_NSD)
            tokens_NSD = self.before_perceptron[index](tokens_NSD, frames=frames)
            with tower.own_precision():
                tokens_NSD = tokens_NSD + tower.trunk.mlp_branch(index, tokens_NSD)
        class_BTD = tower.shape.class_token_of(tokens_NSD).float().unflatten(0, (batch, frames))
        final_norm, _, _ = tower.trunk.last_layers()
        with tower.own_precision():
            normed_BD = final_norm(class_BTD.mean(dim=1).to(tower.dtype))
        return self.dropout(normed_BD.float())

"""The gate on the temporal convolution: where a frame differs from its neighbours, the branch counts more or less.

After TDS-CLIP, a follow-up of Side4Video. The difference of a frame is what it has less than the largest of itself and
its two neighbours, channel by channel.

Legend: B clips, T frames, P patch tokens of a frame, D channels, R reduced channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.product import linear

REDUCTION = 16


class TemporalGate(nn.Module):
    """v to v + v g with g = sigmoid(BN(W2 m)) - 1/2 and m the differences over time of b = BN(W1 v)."""

    def __init__(self, dim: int) -> None:
        """`dim` is a multiple of 16, by which the gate is narrower."""
        super().__init__()
        self.narrow = nn.Linear(dim, dim // REDUCTION, bias=False)
        self.narrow_norm = TokenBatchNorm(dim // REDUCTION)
        self.widen = nn.Linear(dim // REDUCTION, dim, bias=False)
        self.widen_norm = TokenBatchNorm(dim)

    def forward(self, branch_BTPD: Tensor, *, update: bool) -> Tensor:
        """The gated branch [B, T, P, D]; `update` as in `batch_normalise`."""
        reduced_BTPR = self.narrow_norm(self._project(branch_BTPD, self.narrow), update=update)
        moved_BTPR = reduced_BTPR - largest_of_neighbours(reduced_BTPR)
        moved_BTPR = 0.5 * (moved_BTPR + moved_BTPR.mean(dim=-1, keepdim=True))
        gate_BTPD = self.widen_norm(self._project(moved_BTPR, self.widen), update=update).sigmoid()
        return branch_BTPD * (0.5 + gate_BTPD)

    def _project(self, tokens_BTPD: Tensor, layer: nn.Linear) -> Tensor:
        dtype = compute_dtype(layer.weight)
        return linear(tokens_BTPD.to(dtype), layer.weight.to(dtype), None)


def largest_of_neighbours(tokens_BTPR: Tensor) -> Tensor:
    """The maximum over a frame, the one before and the one after, channel by channel."""
    padded = F.pad(tokens_BTPR, (0, 0, 0, 0, 1, 1), value=float("-inf"))
    return torch.maximum(torch.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])

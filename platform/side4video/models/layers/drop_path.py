"""Stochastic depth (Huang et al., 2016, arXiv 1603.09382).

Legend: B clips.
"""

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, drop a branch for a clip with probability `rate`; otherwise multiply it by 1 / (1 - rate).

    Random numbers come from torch's current generator.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch_B: Tensor) -> Tensor:
        """The branch's output [B, ...], zero for the dropped clips."""
        if not self.training or self.rate == 0.0:
            return branch_B
        kept_B = branch_B.new_empty(len(branch_B), *[1] * (branch_B.ndim - 1)).bernoulli_(1.0 - self.rate)
        return branch_B * kept_B.div_(1.0 - self.rate)

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"

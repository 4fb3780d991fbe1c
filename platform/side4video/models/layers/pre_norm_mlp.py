"""An MLP with a norm in front, for probes of frozen tokens."""

from torch import Tensor, nn
from torch.nn import functional as F


class PreNormMLP(nn.Module):
    """Norm, linear, GELU, linear; without a residual connection."""

    def __init__(self, width: int, *, ratio: int = 4, epsilon: float = 1e-5) -> None:
        """`ratio` is the hidden width over `width`, `epsilon` the norm's."""
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.widen = nn.Linear(width, ratio * width)
        self.narrow = nn.Linear(ratio * width, width)

    def forward(self, tokens_BSD: Tensor) -> Tensor:
        """[B, S, D] to the same."""
        return self.narrow(F.gelu(self.widen(self.norm(tokens_BSD))))

"""The mean over the tokens of a clip, behind a batch norm.

Legend: B clips, T frames, P tokens of a frame, D channels.
"""

import torch
from torch import Tensor

from side4video.models.layers.norm import TokenBatchNorm


def normalised_mean(tokens_BTPD: Tensor, norm: TokenBatchNorm | None, *, over: tuple[int, ...] = (1, 2)) -> Tensor:
    """`norm(tokens).mean(dim=over)`, [B, D] or [B, T, D], in fp32 (or more); gain and shift are put on the mean."""
    dtype = torch.promote_types(tokens_BTPD.dtype, torch.float32)
    if norm is None:
        return tokens_BTPD.mean(dim=over, dtype=dtype)
    return norm.normalise(tokens_BTPD).mean(dim=over, dtype=dtype) * norm.weight + norm.bias

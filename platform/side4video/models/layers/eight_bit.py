"""Tensors kept in eight bits, with one scale for each group of channels.

Legend: N frames, P tokens of a frame, D channels, G = D / group.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

GROUP = 32
"""Channels under one scale: CLIP's tokens have a few channels tens of times larger than the rest."""
LARGEST = 127


def round_to_eight_bits(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of `numbers`, int8, and one scale for each row of the last dimension, which is kept with size one."""
    scales = numbers.abs().amax(-1, keepdim=True) / LARGEST
    # The scale is rounded before it is used, so that what is restored is what was meant.
    divisor = torch.where(scales == 0, torch.ones_like(scales), scales).float()
    return (numbers.float() / divisor).round_().clamp_(-LARGEST, LARGEST).to(torch.int8), scales


@dataclass(frozen=True, slots=True)
class EightBitTokens:
    """Tokens as integers from -127 to 127 times the scale of their group: 8.5 bits a number.

    The largest error of a number is 1/254 of the largest magnitude in its group.
    """

    codes_NPD: Tensor
    """int8."""
    scales_NPG: Tensor
    """bf16 or fp16 where the tokens were, fp32 where they were fp32."""

    @classmethod
    def keep(cls, tokens_NPD: Tensor) -> Self:
        """Round tokens to eight bits, group by group."""
        grouped = tokens_NPD.unflatten(-1, (-1, _group(tokens_NPD.shape[-1])))
        codes, scales = round_to_eight_bits(grouped)
        return cls(codes.flatten(-2), scales.squeeze(-1))

    def restore(self) -> Tensor:
        """The tokens [N, P, D], in the precision of their scales."""
        scales = self.scales_NPG.unsqueeze(-1)
        grouped = self.codes_NPD.unflatten(-1, (self.scales_NPG.shape[-1], -1))
        return (grouped.to(scales.dtype) * scales).flatten(-2)


def _group(channels: int) -> int:
    """The largest group up to `GROUP` that divides the channels."""
    return next(size for size in range(min(GROUP, channels), 0, -1) if channels % size == 0)

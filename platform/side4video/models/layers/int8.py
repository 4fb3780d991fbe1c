"""Tensors in eight bits, with one scale per group of channels.

Legend: N frames, P tokens of a frame, D channels, G = D / group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

GROUP = 32
"""Channels per scale: in CLIP's tokens, a few channels are tens of times larger than the others."""
MAX_CODE = 127


def quantize(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes of `numbers` and one scale per row of the last dimension [..., 1]."""
    scales = numbers.abs().amax(-1, keepdim=True) / MAX_CODE
    # Divide by the rounded scale, which is the one that `dequantize` multiplies with.
    divisor = torch.where(scales == 0, torch.ones_like(scales), scales).float()
    return (numbers.float() / divisor).round_().clamp_(-MAX_CODE, MAX_CODE).to(torch.int8), scales


@dataclass(frozen=True, slots=True)
class Int8Tokens:
    """Tokens as integers from -127 to 127 times the scale of their group: 8.5 bits per number.

    The maximum error is 1/254 of the largest magnitude in the group.
    """

    codes_NPD: Tensor
    """int8."""
    scales_NPG: Tensor
    """In the precision of the tokens."""

    @classmethod
    def quantize(cls, tokens_NPD: Tensor, *, group: int = GROUP) -> Self:
        """Quantise tokens, group by group; a group has up to `group` channels."""
        grouped = tokens_NPD.unflatten(-1, (-1, _group(tokens_NPD.shape[-1], group)))
        codes, scales = quantize(grouped)
        return cls(codes.flatten(-2), scales.squeeze(-1))

    def dequantize(self) -> Tensor:
        """The tokens [N, P, D] in the precision of their scales."""
        scales = self.scales_NPG.unsqueeze(-1)
        grouped = self.codes_NPD.unflatten(-1, (self.scales_NPG.shape[-1], -1))
        return (grouped.to(scales.dtype) * scales).flatten(-2)


def _group(channels: int, most: int) -> int:
    """The largest group up to `most` that divides the channels."""
    return next(size for size in range(min(most, channels), 0, -1) if channels % size == 0)


class Int8Matrix(nn.Module):
    """A bf16 matrix [O, I] as int8 codes [O, I] and bf16 scales [O, 1]."""

    def forward(self, codes_OI: Tensor, scales_O1: Tensor) -> Tensor:
        """The matrix."""
        return codes_OI.to(scales_O1.dtype) * scales_O1

    def right_inverse(self, matrix_OI: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scales of a matrix."""
        return quantize(matrix_OI)


def quantize_blocks(blocks: Iterable[nn.Module]) -> None:
    """Store the matrices of a tower's blocks in eight bits, in place."""
    for module in (module for block in blocks for module in block.modules()):
        for matrix in ("weight", "in_proj_weight"):
            parameter = module._parameters.get(matrix)
            if parameter is not None and parameter.ndim == 2:
                parametrize.register_parametrization(module, matrix, Int8Matrix())

"""A pre-norm MLP, computed in chunks of rows.

The hidden channels, four times the tokens before the activation function and four times after it, are the largest
tensors of a transformer block. Here they never exist as a whole: forward and backward loop over chunks of rows, and
backward recomputes the hidden channels. Only the normalised input is saved.

Legend: any leading dimensions, M rows in total, D channels, H hidden channels.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.folded import affine_linear, affine_of, fold, unfold
from side4video.models.layers.precision import compute_dtype, without_autocast
from side4video.models.layers.product import linear, product, weight_gradient

CHUNK_BYTES = 32 * 2**20
"""Size of the hidden channels of one chunk."""


class MLP(nn.Module):
    """Linear, exact GELU, linear. The caller normalises the input; the norm's affine part is fused here."""

    def __init__(self, dim: int, *, ratio: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, ratio * dim)
        self.leave = nn.Linear(ratio * dim, dim)

    def forward(self, normalised_MD: Tensor, norm: nn.Module | None, *, saves_hidden: bool) -> Tensor:
        """The branch's output, from the normalised input and the norm's affine part.

        The tokens are without the gain and shift of `norm`, which is None for none. Hidden channels that are not saved
        are recomputed in backward.
        """
        if saves_hidden:
            hidden_MH = F.gelu(affine_linear(normalised_MD, norm, self.enter))
            return linear(hidden_MH, self.leave.weight, self.leave.bias)
        return _ChunkedMLP.apply(normalised_MD, *self.tensors(norm), compute_dtype(self.enter.weight))

    def tensors(self, norm: nn.Module | None) -> tuple[Tensor, ...]:
        """Gain, shift, and weight and bias of both layers: the `tensors` of `mlp_gradients`."""
        return *affine_of(norm, self.enter), self.enter.weight, self.enter.bias, self.leave.weight, self.leave.bias


def mlp_gradients(
    normalised_MD: Tensor, gradient_MD: Tensor, tensors: tuple[Tensor, ...], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Gradients of the normalised input and of all six tensors.

    `tensors` are those of `MLP.tensors`; `dtype` is the precision of the products.
    """
    gain_D, shift_D, enter_HD, enter_bias_H, leave_DH, _ = tensors
    folded_HD, offset_H = fold(gain_D, shift_D, enter_HD, enter_bias_H, dtype)
    leave_cast_DH = leave_DH.to(dtype)
    x_MD, g_MD = normalised_MD.flatten(0, -2).to(dtype), gradient_MD.flatten(0, -2).to(dtype)
    x_gradient = torch.empty_like(x_MD)
    raw_HD, leave_gradient = torch.zeros_like(enter_HD), torch.zeros_like(leave_DH)
    sum_H = torch.zeros_like(enter_bias_H)
    for rows in row_chunks(x_MD, len(enter_bias_H)):
        hidden_MH = product(x_MD[rows], folded_HD, offset_H)
        leave_gradient += weight_gradient(g_MD[rows], F.gelu(hidden_MH))
        slope_MH = torch.ops.aten.gelu_backward(product(g_MD[rows], leave_cast_DH.t()), hidden_MH)
        del hidden_MH
        raw_HD += weight_gradient(slope_MH, x_MD[rows])
        sum_H += slope_MH.sum(0, dtype=sum_H.dtype)
        x_gradient[rows] = product(slope_MH, folded_HD.t())
    leave_bias_gradient = g_MD.sum(0, dtype=leave_DH.dtype)
    enter_gradients = unfold(raw_HD, sum_H, gain_D, shift_D, enter_HD)
    return x_gradient.view_as(normalised_MD), *enter_gradients, leave_gradient, leave_bias_gradient


class _ChunkedMLP(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(ctx: Any, normalised_MD: Tensor, *rest: Any) -> Tensor:
        *tensors, dtype = rest
        normalised_MD = normalised_MD.to(dtype)
        ctx.save_for_backward(normalised_MD, *tensors)
        ctx.dtype = dtype
        gain_D, shift_D, enter_HD, enter_bias_H, leave_DH, leave_bias_D = tensors
        folded_HD, offset_H = fold(gain_D, shift_D, enter_HD, enter_bias_H, dtype)
        leave_cast_DH, leave_bias_cast_D = leave_DH.to(dtype), leave_bias_D.to(dtype)
        x_MD = normalised_MD.flatten(0, -2)
        output_MD = torch.empty_like(x_MD)
        for rows in row_chunks(x_MD, len(enter_bias_H)):
            hidden_MH = F.gelu(product(x_MD[rows], folded_HD, offset_H))
            output_MD[rows] = product(hidden_MH, leave_cast_DH, leave_bias_cast_D)
        return output_MD.view_as(normalised_MD)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normalised_MD, *tensors = ctx.saved_tensors
        return *mlp_gradients(normalised_MD, gradients[0], tuple(tensors), ctx.dtype), None


def row_chunks(x_MD: Tensor, hidden: int, *, chunk_bytes: int = 0) -> Iterator[slice]:
    """Slices of rows whose hidden channels take up to `chunk_bytes`, or `CHUNK_BYTES` if that is 0."""
    if torch.compiler.is_exporting():  # an exported graph for any number of clips cannot loop over them
        yield slice(None)
        return
    rows = max(1, (chunk_bytes or CHUNK_BYTES) // (hidden * x_MD.element_size()))
    for start in range(0, len(x_MD), rows):
        yield slice(start, start + rows)

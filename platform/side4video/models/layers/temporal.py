"""Temporal mixing of tokens with their channels last.

Legend: B clips, T frames, P patch tokens of a frame, D channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype, without_autocast
from side4video.models.layers.product import product, weight_gradient


class _ShiftMultiply(torch.autograd.Function):
    """y_t = w_0 x_{t-1} + w_1 x_t + w_2 x_{t+1}, channel by channel, with zeros outside the clip.

    torch's depthwise 3-D convolutions have a slow backward on CPU and GPU. Three shifted multiply-adds over contiguous
    channels are fast, and save only their input.
    """

    @staticmethod
    @without_autocast
    def forward(ctx: Any, tokens_BTPD: Tensor, weight_3D: Tensor) -> Tensor:
        ctx.save_for_backward(tokens_BTPD, weight_3D)
        return _shift_multiply(tokens_BTPD, weight_3D)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        tokens_BTPD, weight_3D = ctx.saved_tensors
        gradient_BTPD = gradients[0].contiguous()
        tokens_gradient = kernel_gradient = None
        if ctx.needs_input_grad[0]:
            tokens_gradient = _shift_multiply(gradient_BTPD, weight_3D.flip(0))
        if ctx.needs_input_grad[1]:
            kernel_gradient = _kernel_gradient(tokens_BTPD, gradient_BTPD).to(weight_3D.dtype)
        return tokens_gradient, kernel_gradient


def _shift_multiply(tokens_BTPD: Tensor, weight_3D: Tensor) -> Tensor:
    # Computed in the weights' precision, and rounded to the tokens' once.
    mixed_BTPD = tokens_BTPD * weight_3D[1]
    mixed_BTPD[:, 1:].addcmul_(tokens_BTPD[:, :-1], weight_3D[0])
    mixed_BTPD[:, :-1].addcmul_(tokens_BTPD[:, 1:], weight_3D[2])
    return mixed_BTPD.to(tokens_BTPD.dtype)


def _kernel_gradient(tokens_BTPD: Tensor, gradient_BTPD: Tensor) -> Tensor:
    return torch.stack(
        [
            _sum_of_products(tokens_BTPD[:, :-1], gradient_BTPD[:, 1:]),
            _sum_of_products(tokens_BTPD, gradient_BTPD),
            _sum_of_products(tokens_BTPD[:, 1:], gradient_BTPD[:, :-1]),
        ]
    )


def _sum_of_products(left_BTPD: Tensor, right_BTPD: Tensor) -> Tensor:
    return (left_BTPD * right_BTPD).flatten(0, 2).sum(0, dtype=torch.promote_types(left_BTPD.dtype, torch.float32))


class DepthwiseTemporalConvolution(nn.Module):
    """A 3x1x1 depthwise convolution, zero padded in time, with bias: [B, T, P, D] to the same.

    It equals `nn.Conv3d(D, D, (3, 1, 1), padding=(1, 0, 0), groups=D)` on tokens [B, D, T, P, 1], initial
    values included (uniform within 1/sqrt(3)).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        bound = 3**-0.5
        self.weight_3D = nn.Parameter(torch.empty(3, dim).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """Tokens mixed with their neighbours in time."""
        mixed_BTPD: Tensor = _ShiftMultiply.apply(tokens_BTPD, self.weight_3D)
        return mixed_BTPD + self.bias_D.to(tokens_BTPD.dtype)


def temporal_filter(tokens_BTPD: Tensor, weight_3D: Tensor) -> Tensor:
    """y_t = w_0 x_{t-1} + w_1 x_t + w_2 x_{t+1} by channel, with zeros outside the clip and without bias."""
    return _ShiftMultiply.apply(tokens_BTPD, weight_3D)


def temporal_linear(tokens_BTPD: Tensor, convolution: DepthwiseTemporalConvolution, layer: nn.Linear) -> Tensor:
    """`layer(convolution(tokens))`; saves only the tokens, and backward recomputes the convolution."""
    dtype = compute_dtype(layer.weight)
    return _TemporalLinear.apply(
        tokens_BTPD.to(dtype), convolution.weight_3D, convolution.bias_D, layer.weight, layer.bias
    )


class _TemporalLinear(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, tokens_BTPD: Tensor, weight_3D: Tensor, shift_D: Tensor, weight_OD: Tensor, bias_O: Tensor
    ) -> Tensor:
        ctx.save_for_backward(tokens_BTPD, weight_3D, shift_D, weight_OD)
        dtype = tokens_BTPD.dtype
        mixed_MD = _shift_multiply(tokens_BTPD, weight_3D).flatten(0, -2)
        # The convolution's bias passes through the layer once, not per token.
        offset_O = torch.addmv(bias_O, weight_OD, shift_D).to(dtype)
        return product(mixed_MD, weight_OD.to(dtype), offset_O).view(*tokens_BTPD.shape[:-1], -1)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tokens_BTPD, weight_3D, shift_D, weight_OD = ctx.saved_tensors
        dtype = tokens_BTPD.dtype
        gradient_MO = gradients[0].flatten(0, -2)
        sum_O = gradient_MO.sum(0, dtype=weight_OD.dtype)
        mixed_MD = _shift_multiply(tokens_BTPD, weight_3D).flatten(0, -2)
        grad_weight_OD = weight_gradient(gradient_MO, mixed_MD).to(weight_OD.dtype)
        del mixed_MD
        gradient_BTPD = product(gradient_MO, weight_OD.t().to(dtype)).view_as(tokens_BTPD)
        kernel_gradient = _kernel_gradient(tokens_BTPD, gradient_BTPD).to(weight_3D.dtype)
        tokens_gradient = _shift_multiply(gradient_BTPD, weight_3D.flip(0))
        return (tokens_gradient, kernel_gradient, sum_O @ weight_OD, torch.addr(grad_weight_OD, sum_O, shift_D), sum_O)


def shift_over_time(tokens_BTD: Tensor) -> Tensor:
    """[CLS] shift: the first half of the channels comes from the next frame, the second from the previous frame.

    Missing neighbours are zero, as in the authors' code. The frame's own token is not used (section 3.3: "shifting the
    whole pre-trained [CLS] channels back-and-forth across adjacent frames").
    """
    half = tokens_BTD.shape[-1] // 2
    from_after = F.pad(tokens_BTD[:, 1:, :half], (0, 0, 0, 1))
    from_before = F.pad(tokens_BTD[:, :-1, half:], (0, 0, 1, 0))
    return torch.cat([from_after, from_before], dim=-1)

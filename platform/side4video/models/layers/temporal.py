"""Mixing over time, on tokens that keep their channels last.

Legend: B clips, T frames, P patch tokens of a frame, D channels.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class _ShiftMultiply(torch.autograd.Function):
    """y_t = w_0 x_{t-1} + w_1 x_t + w_2 x_{t+1}, channel by channel, with zeros beyond the clip.

    Library depthwise 3-D convolutions are slow in backward on CPU and GPU alike; three shifted
    multiply-adds over contiguous channels are not, and keep nothing but their input.
    """

    @staticmethod
    def forward(ctx: Any, tokens_BTPD: Tensor, weight_3D: Tensor) -> Tensor:
        ctx.save_for_backward(tokens_BTPD, weight_3D)
        return _shift_multiply(tokens_BTPD, weight_3D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        tokens_BTPD, weight_3D = ctx.saved_tensors
        gradient_BTPD = gradients[0].contiguous()
        tokens_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            tokens_gradient = _shift_multiply(gradient_BTPD, weight_3D.flip(0))
        if ctx.needs_input_grad[1]:
            weight_gradient = torch.stack(
                [
                    _sum_of_products(tokens_BTPD[:, :-1], gradient_BTPD[:, 1:]),
                    _sum_of_products(tokens_BTPD, gradient_BTPD),
                    _sum_of_products(tokens_BTPD[:, 1:], gradient_BTPD[:, :-1]),
                ]
            ).to(weight_3D.dtype)
        return tokens_gradient, weight_gradient


def _shift_multiply(tokens_BTPD: Tensor, weight_3D: Tensor) -> Tensor:
    mixed_BTPD = tokens_BTPD * weight_3D[1]
    mixed_BTPD[:, 1:].addcmul_(tokens_BTPD[:, :-1], weight_3D[0])
    mixed_BTPD[:, :-1].addcmul_(tokens_BTPD[:, 1:], weight_3D[2])
    return mixed_BTPD


def _sum_of_products(left_BTPD: Tensor, right_BTPD: Tensor) -> Tensor:
    return (left_BTPD * right_BTPD).flatten(0, 2).sum(0, dtype=torch.promote_types(left_BTPD.dtype, torch.float32))


class DepthwiseTemporalConvolution(nn.Module):
    """A 3x1x1 depthwise convolution, zero padded in time, with bias: [B, T, P, D] to the same.

    It equals `nn.Conv3d(D, D, (3, 1, 1), padding=(1, 0, 0), groups=D)` on the same values moved to [B, D, T, P, 1],
    and starts from the same distribution (uniform within 1/sqrt(3)).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        bound = 3**-0.5
        self.weight_3D = nn.Parameter(torch.empty(3, dim).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """Tokens mixed with their neighbours in time."""
        weight_3D = self.weight_3D.to(tokens_BTPD.dtype)
        mixed_BTPD: Tensor = _ShiftMultiply.apply(tokens_BTPD, weight_3D)
        return mixed_BTPD + self.bias_D.to(tokens_BTPD.dtype)


class TemporalPatchEmbedding(nn.Module):
    """A (3, p, p) convolution of stride (1, p, p), zero padded in time, with bias: frames to patch tokens.

    As one matrix product: each patch gives its response to the three time slices of the kernel, and the three
    responses are added one frame apart. Equals `nn.Conv3d(3, D, (3, p, p), (1, p, p), (1, 0, 0))`, initial values
    included.
    """

    def __init__(self, dim: int, *, patch_size: int) -> None:
        super().__init__()
        self.dim, self.patch_size = dim, patch_size
        bound = (3 * 3 * patch_size * patch_size) ** -0.5
        self.weight_DC3HW = nn.Parameter(torch.empty(dim, 3, 3, patch_size, patch_size).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] to tokens [B, T, P, D], P = (H/p)·(W/p) in row order."""
        size = self.patch_size
        patches_BTPK = rearrange(video_BTCHW, "b t c (h p) (w q) -> b t (h w) (c p q)", p=size, q=size)
        # [D, C, 3, p, p] to [3·D, C·p·p]: the three time slices side by side.
        weight = rearrange(self.weight_DC3HW, "d c k p q -> (k d) (c p q)")
        before, here, after = F.linear(patches_BTPK.to(weight.dtype), weight).chunk(3, dim=-1)
        tokens_BTPD = here + self.bias_D
        # The kernel's first slice meets the frame before, its last the frame after.
        return tokens_BTPD + F.pad(before[:, :-1], (0, 0, 0, 0, 1, 0)) + F.pad(after[:, 1:], (0, 0, 0, 0, 0, 1))


def shift_over_time(tokens_BTD: Tensor) -> Tensor:
    """[CLS] shift: the first half of the channels comes from the frame after, the second from the frame before.

    Missing neighbours are zero, and nothing of the frame's own token is kept (section 3.3: "shifting the whole
    pre-trained [CLS] channels back-and-forth across adjacent frames"; the fill is the authors' code's).
    """
    half = tokens_BTD.shape[-1] // 2
    from_after = F.pad(tokens_BTD[:, 1:, :half], (0, 0, 0, 1))
    from_before = F.pad(tokens_BTD[:, :-1, half:], (0, 0, 1, 0))
    return torch.cat([from_after, from_before], dim=-1)

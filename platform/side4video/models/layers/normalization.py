"""Normalisation without its affine part, which the matrix product that follows takes in (`folded.py`).

Both functions keep one tensor for backward, their own output, and the product that follows keeps the same one: a norm
and a linear layer together hold what either of them needs alone.

Legend: any leading dimensions, M rows in all, D channels.
"""

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from side4video.models.layers.precision import without_autocast

EPSILON = 1e-5


class Statistics(Protocol):
    """What batch normalisation asks of the module that keeps its statistics."""

    training: bool
    running_mean: Tensor | None
    running_var: Tensor | None
    synchronised: bool

    def momentum_now(self) -> float:
        """Weight of the present batch in the running statistics; counts the batch."""
        ...


def batch_normalise(x_MD: Tensor, statistics: Statistics, *, update: bool = True) -> Tensor:
    """`(x - mean) / sqrt(variance + 1e-5)` by channel, over all rows: of the batch in training, running ones otherwise.

    Args:
        x_MD: Tokens, channels last.
        statistics: Whose running statistics.
        update: Whether they follow this batch (not where a forward is repeated).
    """
    return _BatchNormalise.apply(x_MD, statistics, update)


def layer_normalise(x_MD: Tensor) -> Tensor:
    """`(x - mean) / sqrt(variance + 1e-5)` by row, over its channels."""
    return _LayerNormalise.apply(x_MD)


def layer_norm(x_MD: Tensor, norm: nn.LayerNorm) -> Tensor:
    """`norm(x)` in the precision of `x`."""
    return layer_normalise(x_MD) * norm.weight.to(x_MD.dtype) + norm.bias.to(x_MD.dtype)


def layer_statistics_free(x_MD: Tensor) -> Tensor:
    """The same without a graph: for tokens that no gradient reaches."""
    return torch.native_layer_norm(x_MD, [x_MD.shape[-1]], *_unit(x_MD), EPSILON)[0]


class _BatchNormalise(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(ctx: Any, x_MD: Tensor, statistics: Statistics, update: bool) -> Tensor:
        image = _as_image(x_MD)
        wide = torch.promote_types(x_MD.dtype, torch.float32)
        ones = torch.ones(x_MD.shape[-1], dtype=wide, device=x_MD.device)
        zeros = torch.zeros_like(ones)
        running = (statistics.running_mean, statistics.running_var)
        ctx.training, ctx.rows = statistics.training, x_MD.numel() // x_MD.shape[-1]
        ctx.synchronised = statistics.training and statistics.synchronised
        if ctx.synchronised:
            mean_D, variance_D, ctx.rows = _over_workers(image)
            if update:
                _follow(statistics, mean_D, variance_D, ctx.rows)
            normalised, _, _ = torch.native_batch_norm(image, ones, zeros, mean_D, variance_D, False, 0.0, EPSILON)
            inverse_D = (variance_D + EPSILON).rsqrt()
        elif statistics.training:
            kept = running if update else (None, None)
            momentum = statistics.momentum_now() if update else 0.0
            normalised, _, inverse_D = torch.native_batch_norm(image, ones, zeros, *kept, True, momentum, EPSILON)
        else:
            normalised, _, _ = torch.native_batch_norm(image, ones, zeros, *running, False, 0.0, EPSILON)
            inverse_D = (running[1] + EPSILON).rsqrt() if running[1] is not None else ones
        output_MD = _as_tokens(normalised, x_MD)
        # In this precision already; only torch's description of the kernel, which planning goes by, says otherwise.
        ctx.save_for_backward(output_MD, inverse_D.to(wide))
        return output_MD

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        normalised_MD, inverse_D = ctx.saved_tensors
        gradient_MD = gradients[0]
        if not ctx.training:
            return gradient_MD * inverse_D.to(gradient_MD.dtype), None, None
        if ctx.synchronised:
            return _batch_gradient(gradient_MD, normalised_MD, inverse_D, ctx.rows), None, None
        # The library's kernel on an input that is normalised already: its mean is 0, its deviation 1, and the
        # deviation that was divided by stands where the norm's gain would.
        zeros, ones = torch.zeros_like(inverse_D), torch.ones_like(inverse_D)
        image, gradient = _as_image(normalised_MD), _as_image(gradient_MD)
        x_gradient, _, _ = torch.ops.aten.native_batch_norm_backward(
            gradient, image, inverse_D, None, None, zeros, ones, True, 0.0, [True, False, False]
        )
        return _as_tokens(x_gradient, normalised_MD), None, None


class _LayerNormalise(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(ctx: Any, x_MD: Tensor) -> Tensor:
        normalised_MD, _, inverse_M1 = torch.native_layer_norm(x_MD, [x_MD.shape[-1]], *_unit(x_MD), EPSILON)
        # In this precision already; only torch's description of the kernel, which planning goes by, says otherwise.
        ctx.save_for_backward(normalised_MD, inverse_M1.to(torch.promote_types(x_MD.dtype, torch.float32)))
        return normalised_MD

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor]:
        normalised_MD, inverse_M1 = ctx.saved_tensors
        mean_M1, ones_M1 = torch.zeros_like(inverse_M1), torch.ones_like(inverse_M1)
        x_gradient, _, _ = torch.ops.aten.native_layer_norm_backward(
            gradients[0].contiguous(),
            normalised_MD,
            [normalised_MD.shape[-1]],
            mean_M1,
            ones_M1,
            *_unit(normalised_MD),
            [True, False, False],
        )
        return (x_gradient.mul_(inverse_M1.to(x_gradient.dtype)),)


def _unit(x_MD: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """A gain of one and a shift of zero, where a CPU needs them to keep statistics of low precision in fp32."""
    if x_MD.device.type != "cpu" or x_MD.dtype in (torch.float32, torch.float64):
        return None, None
    ones = torch.ones(x_MD.shape[-1], dtype=torch.float32)
    return ones, torch.zeros_like(ones)


def _as_image(x_MD: Tensor) -> Tensor:
    """Tokens as a channels-last image [1, D, M, 1], a view, for which libraries have fast kernels."""
    return x_MD.reshape(1, -1, 1, x_MD.shape[-1]).permute(0, 3, 1, 2)


def _as_tokens(image: Tensor, like: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(like.shape)


def _over_workers(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance (biased) and rows over all workers, combined without cancellation and without a host's wait."""
    x_MD = image.flatten(2).squeeze(0).t()
    mean_D = x_MD.mean(0, dtype=torch.float32)
    variance_D = (x_MD - mean_D).square_().mean(0, dtype=torch.float32)
    mine = torch.cat([mean_D, variance_D, mean_D.new_tensor([float(len(x_MD))])])
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine)
    whole = torch.stack(parts)
    channels = len(mean_D)
    rows_W1 = whole[:, -1:]
    total = rows_W1.sum()
    common_D = (whole[:, :channels] * rows_W1).sum(0) / total
    spread = whole[:, channels:-1] + (whole[:, :channels] - common_D).square()
    return common_D, (spread * rows_W1).sum(0) / total, total


def _follow(statistics: Statistics, mean_D: Tensor, variance_D: Tensor, rows: Tensor) -> None:
    momentum = statistics.momentum_now()
    if statistics.running_mean is not None and statistics.running_var is not None:
        statistics.running_mean.lerp_(mean_D, momentum)
        statistics.running_var.lerp_(variance_D * (rows / (rows - 1).clamp_min(1)), momentum)


def _batch_gradient(gradient_MD: Tensor, normalised_MD: Tensor, inverse_D: Tensor, rows: Tensor) -> Tensor:
    """Backward of a batch norm whose batch lies on several workers."""
    gradient, normalised = gradient_MD.flatten(0, -2), normalised_MD.flatten(0, -2)
    sums_2D = torch.stack([gradient.sum(0, dtype=torch.float32), (gradient * normalised).sum(0, dtype=torch.float32)])
    dist.all_reduce(sums_2D)
    mean_D, slope_D = (sums_2D / rows).to(gradient.dtype)
    return (gradient_MD - mean_D - normalised_MD * slope_D) * inverse_D.to(gradient.dtype)

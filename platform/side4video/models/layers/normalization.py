"""Normalisation without its affine part, which is fused with the next linear layer (`folded.py`).

Both functions save their output for backward. The next linear layer saves the same tensor, so a norm and a linear layer
together save one tensor.

Legend: any leading dimensions, M rows in total, D channels, N images of H x W pixels.
"""

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from side4video.models.layers.precision import without_autocast

EPSILON = 1e-5


class Statistics(Protocol):
    """The module with the statistics of a batch normalisation."""

    training: bool
    running_mean: Tensor | None
    running_var: Tensor | None
    synchronized: bool

    def count_batch(self) -> float:
        """Count the batch, and return its weight in the running statistics."""
        ...


def batch_normalise(x_MD: Tensor, statistics: Statistics, *, update: bool = True) -> Tensor:
    """`(x - mean) / sqrt(variance + 1e-5)` by channel, over all rows.

    Channels are last. In training the batch's own statistics are used, in evaluation the running ones of the module.
    `update` changes the running ones (not in a recomputed forward).
    """
    return _BatchNormalise.apply(x_MD, statistics, update, False)


def batch_normalise_images(images_NDHW: Tensor, statistics: Statistics) -> Tensor:
    """`batch_normalise` of images whose channels come second, over images and pixels.

    torch's CPU kernel for channels that are last adds up all rows in fp32, one after the other, which loses two digits
    of the mean of many rows. The kernel for images does not.
    """
    if statistics.training and statistics.synchronized:
        return batch_normalise(images_NDHW.movedim(1, -1), statistics).movedim(-1, 1)
    return _BatchNormalise.apply(images_NDHW.contiguous(), statistics, True, True)


def layer_normalise(x_MD: Tensor) -> Tensor:
    """`(x - mean) / sqrt(variance + 1e-5)` by row, over its channels."""
    return _LayerNormalise.apply(x_MD)


def layer_norm(x_MD: Tensor, norm: nn.LayerNorm) -> Tensor:
    """`norm(x)` in the precision of `x`."""
    return layer_normalise(x_MD) * norm.weight.to(x_MD.dtype) + norm.bias.to(x_MD.dtype)


def layer_normalise_frozen(x_MD: Tensor) -> Tensor:
    """`layer_normalise` without a graph."""
    return torch.native_layer_norm(x_MD, [x_MD.shape[-1]], *_unit_affine(x_MD), EPSILON)[0]


class _BatchNormalise(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(ctx: Any, x_MD: Tensor, statistics: Statistics, update: bool, is_image: bool) -> Tensor:
        ctx.is_image = is_image
        image = x_MD if is_image else _as_image(x_MD)
        wide = torch.promote_types(x_MD.dtype, torch.float32)
        ones = torch.ones(image.shape[1], dtype=wide, device=x_MD.device)
        zeros = torch.zeros_like(ones)
        running = (statistics.running_mean, statistics.running_var)
        ctx.training, ctx.rows = statistics.training, x_MD.numel() // image.shape[1]
        ctx.synchronized = statistics.training and statistics.synchronized
        if ctx.synchronized:
            mean_D, variance_D, ctx.rows = _statistics_of_workers(image)
            if update:
                _update_statistics(statistics, mean_D, variance_D, ctx.rows)
            normalised, _, _ = torch.native_batch_norm(image, ones, zeros, mean_D, variance_D, False, 0.0, EPSILON)
            inverse_D = (variance_D + EPSILON).rsqrt()
        elif statistics.training:
            updated = running if update else (None, None)
            momentum = statistics.count_batch() if update else 0.0
            normalised, _, inverse_D = torch.native_batch_norm(image, ones, zeros, *updated, True, momentum, EPSILON)
        else:
            normalised, _, _ = torch.native_batch_norm(image, ones, zeros, *running, False, 0.0, EPSILON)
            inverse_D = (running[1] + EPSILON).rsqrt() if running[1] is not None else ones
        output_MD = normalised if is_image else _as_tokens(normalised, x_MD)
        # A no-op on real tensors; torch's meta kernel, which planning uses, returns another data type.
        ctx.save_for_backward(output_MD, inverse_D.to(wide))
        return output_MD

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        normalised_MD, inverse_D = ctx.saved_tensors
        gradient_MD = gradients[0]
        if not ctx.training:
            slope = inverse_D.to(gradient_MD.dtype)
            return gradient_MD * (slope.view(-1, 1, 1) if ctx.is_image else slope), None, None, None
        if ctx.synchronized:
            return _batch_gradient(gradient_MD, normalised_MD, inverse_D, ctx.rows), None, None, None
        # torch's kernel on the normalised input, whose mean is 0 and deviation 1; 1 / deviation of the original input
        # is passed as the norm's gain.
        zeros, ones = torch.zeros_like(inverse_D), torch.ones_like(inverse_D)
        image, gradient = normalised_MD, gradient_MD.contiguous()
        if not ctx.is_image:
            image, gradient = _as_image(normalised_MD), _as_image(gradient_MD)
        x_gradient, _, _ = torch.ops.aten.native_batch_norm_backward(
            gradient, image, inverse_D, None, None, zeros, ones, True, 0.0, [True, False, False]
        )
        return (x_gradient if ctx.is_image else _as_tokens(x_gradient, normalised_MD)), None, None, None


class _LayerNormalise(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(ctx: Any, x_MD: Tensor) -> Tensor:
        normalised_MD, _, inverse_M1 = torch.native_layer_norm(x_MD, [x_MD.shape[-1]], *_unit_affine(x_MD), EPSILON)
        # A no-op on real tensors; torch's meta kernel, which planning uses, returns another data type.
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
            *_unit_affine(normalised_MD),
            [True, False, False],
        )
        return (x_gradient.mul_(inverse_M1.to(x_gradient.dtype)),)


def _unit_affine(x_MD: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Unit gain and zero shift in fp32, with which a CPU computes statistics of half precision in fp32; else None."""
    if x_MD.device.type != "cpu" or x_MD.dtype in (torch.float32, torch.float64):
        return None, None
    ones = torch.ones(x_MD.shape[-1], dtype=torch.float32)
    return ones, torch.zeros_like(ones)


def _as_image(x_MD: Tensor) -> Tensor:
    """Tokens as a channels-last image [1, D, M, 1], a view, for torch's fast kernels."""
    return x_MD.reshape(1, -1, 1, x_MD.shape[-1]).permute(0, 3, 1, 2)


def _as_tokens(image: Tensor, like: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(like.shape)


def _statistics_of_workers(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and number of rows of all workers, without cancellation and without a synchronisation."""
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


def _update_statistics(statistics: Statistics, mean_D: Tensor, variance_D: Tensor, rows: Tensor) -> None:
    momentum = statistics.count_batch()
    if statistics.running_mean is not None and statistics.running_var is not None:
        statistics.running_mean.lerp_(mean_D, momentum)
        statistics.running_var.lerp_(variance_D * (rows / (rows - 1).clamp_min(1)), momentum)


def _batch_gradient(gradient_MD: Tensor, normalised_MD: Tensor, inverse_D: Tensor, rows: Tensor) -> Tensor:
    """The input's gradient of a synchronised batch norm."""
    gradient, normalised = gradient_MD.flatten(0, -2), normalised_MD.flatten(0, -2)
    sums_2D = torch.stack([gradient.sum(0, dtype=torch.float32), (gradient * normalised).sum(0, dtype=torch.float32)])
    dist.all_reduce(sums_2D)
    mean_D, slope_D = (sums_2D / rows).to(gradient.dtype)
    return (gradient_MD - mean_D - normalised_MD * slope_D) * inverse_D.to(gradient.dtype)

"""Batch normalisation over every token of a batch.

Legend: B clips, T frames, P tokens of a frame, D channels, N images of H x W pixels.
"""

import torch
from torch import Tensor, nn

from side4video.models.layers.normalization import batch_normalise, batch_normalise_images

MOMENTUM = 0.1


class TokenBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`BatchNorm3d` on tokens with their channels last: statistics over batch, time and space per channel.

    Parameters and running statistics are torch's. With `synchronized`, the statistics are those of all workers'
    tokens, on CPU and GPU.
    """

    synchronized = False

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-5, momentum=MOMENTUM)

    def count_batch(self) -> float:
        """Count the batch, and return its weight in the running statistics."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return MOMENTUM

    def normalise(self, tokens_BTPD: Tensor, *, update: bool = True) -> Tensor:
        """Normalised tokens without gain and shift, for `folded.affine_linear`."""
        return batch_normalise(tokens_BTPD, self, update=update)

    def forward(self, input: Tensor, *, update: bool = True) -> Tensor:  # noqa: A002 - the library's name
        """Normalised tokens [B, T, P, D], of the same shape and precision as `input`."""
        normalised_BTPD = self.normalise(input, update=update)
        dtype = normalised_BTPD.dtype
        return normalised_BTPD * self.weight.to(dtype) + self.bias.to(dtype)


def normalise_images(images_NDHW: Tensor, norm: TokenBatchNorm) -> Tensor:
    """`norm` of images whose channels come second, in their precision."""
    normalised_NDHW = batch_normalise_images(images_NDHW, norm)
    gain, shift = (each.to(normalised_NDHW.dtype).view(-1, 1, 1) for each in (norm.weight, norm.bias))
    return normalised_NDHW * gain + shift


def synchronize_norms(module: nn.Module) -> None:
    """Use the statistics of all workers' tokens in every batch norm of a module."""
    for part in module.modules():
        if isinstance(part, TokenBatchNorm):
            part.synchronized = True


def normalised_mean(tokens_BTPD: Tensor, norm: TokenBatchNorm | None, *, over: tuple[int, ...] = (1, 2)) -> Tensor:
    """`norm(tokens).mean(dim=over)`, [B, D] or [B, T, D], in fp32 (or fp64). Gain and shift are applied to the mean."""
    dtype = torch.promote_types(tokens_BTPD.dtype, torch.float32)
    if norm is None:
        return tokens_BTPD.mean(dim=over, dtype=dtype)
    return norm.normalise(tokens_BTPD).mean(dim=over, dtype=dtype) * norm.weight + norm.bias

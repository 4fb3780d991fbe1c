"""The 3-D patch embedding, computed in chunks of clips from uint8 frames.

Legend: B clips, T frames, C channels, H, W pixels, P patches of a frame, K = 3·C·p·p numbers under a kernel (a patch in
three frames), D channels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import compute_dtype, without_autocast
from side4video.models.layers.product import product, weight_gradient

Prepare = Callable[..., Tensor]
"""Raw tensors of some clips to the input of a convolution [B, T, C, H, W]."""
CHUNK_BYTES = 64 * 2**20
"""Size of the patches of one chunk of clips."""


class TemporalPatchEmbedding(nn.Module):
    """A (3, p, p) convolution of stride (1, p, p), zero padded in time, with bias: frames to patch tokens.

    It equals `nn.Conv3d(C, D, (3, p, p), (1, p, p), (1, 0, 0))`, initial values included, as one matrix product of the
    kernel and each patch in three frames. With `border` it equals the same with padding (1, 1, 1), for p above 2: a
    border of one zero pixel, which displaces patches by one pixel up and left. Only the uint8 frames are saved; forward
    and backward prepare them, a few clips at a time.
    """

    def __init__(self, dim: int, *, patch_size: int, channels: int = 3, border: bool = False) -> None:
        super().__init__()
        self.dim, self.patch_size, self.border = dim, patch_size, border
        bound = (3 * channels * patch_size * patch_size) ** -0.5
        self.weight_DC3HW = nn.Parameter(torch.empty(dim, channels, 3, patch_size, patch_size).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, video_BTCHW: Tensor, prepare: Prepare, *others: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] to tokens [B, T, P, D], P = (H/p)·(W/p) in row order.

        Frames are uint8, and so are the other tensors [B, ...]. `prepare` of all makes the input of the convolution
        [B, T, C, H, W]: `FrozenTower.normalise` for frames alone.
        """
        dtype = compute_dtype(self.weight_DC3HW)

        def bordered(*sources: Tensor) -> Tensor:
            pixels_BTCHW = prepare(*sources)
            return F.pad(pixels_BTCHW, (1, 0, 1, 0))[..., :-1, :-1] if self.border else pixels_BTCHW

        return _Embed.apply(self.weight_DC3HW, self.bias_D, bordered, dtype, video_BTCHW, *others)


class _Embed(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, weight_DC3HW: Tensor, bias_D: Tensor, prepare: Prepare, dtype: torch.dtype, *sources: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*sources)
        ctx.prepare, ctx.dtype, ctx.like = prepare, dtype, weight_DC3HW
        dim, _, _, size, _ = weight_DC3HW.shape
        batch, frames, _, height, width = sources[0].shape
        weight_DK = rearrange(weight_DC3HW, "d c k p q -> d (k c p q)").to(dtype)
        tokens_BTPD = torch.empty(
            (batch, frames, (height // size) * (width // size), dim), dtype=dtype, device=sources[0].device
        )
        for clips in _chunks(tokens_BTPD, weight_DK.shape[1]):
            patches_BTPK = _patches(prepare(*(each[clips] for each in sources)).to(dtype), size)
            rows = product(patches_BTPK.flatten(0, 2), weight_DK, bias_D.to(dtype))
            tokens_BTPD[clips] = rows.view(*patches_BTPK.shape[:3], dim)
        return tokens_BTPD

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sources, gradient_BTPD = ctx.saved_tensors, gradients[0]
        dim, channels, slices, size, _ = ctx.like.shape
        grad_weight_DK = ctx.like.new_zeros(dim, slices * channels * size * size)
        for clips in _chunks(gradient_BTPD, grad_weight_DK.shape[1]):
            patches_BTPK = _patches(ctx.prepare(*(each[clips] for each in sources)).to(ctx.dtype), size)
            grad_weight_DK += weight_gradient(gradient_BTPD[clips].flatten(0, 2), patches_BTPK.flatten(0, 2))
        grad_weight = rearrange(
            grad_weight_DK, "d (k c p q) -> d c k p q", k=slices, c=channels, p=size, q=size
        ).contiguous()
        grad_bias = gradient_BTPD.sum((0, 1, 2), dtype=grad_weight.dtype)
        return grad_weight, grad_bias, None, None, *(None for _ in sources)


def _patches(frames_BTCHW: Tensor, size: int) -> Tensor:
    """Each patch of the previous, the same and the next frame; zeros outside the clip."""
    current = rearrange(frames_BTCHW, "b t c (h p) (w q) -> b t (h w) (c p q)", p=size, q=size)
    patches_BTP3K = current.new_empty((*current.shape[:3], 3, current.shape[3]))
    patches_BTP3K[:, 0, :, 0] = 0
    patches_BTP3K[:, -1, :, 2] = 0
    patches_BTP3K[:, 1:, :, 0] = current[:, :-1]
    patches_BTP3K[:, :, :, 1] = current
    patches_BTP3K[:, :-1, :, 2] = current[:, 1:]
    return patches_BTP3K.flatten(3)


def _chunks(tokens_BTPD: Tensor, numbers: int) -> Iterator[slice]:
    if torch.compiler.is_exporting():  # an exported graph for any number of clips cannot loop over them
        yield slice(None)
        return
    _, frames, patches, _ = tokens_BTPD.shape
    # Beside the patches in three frames, the frames themselves and their patches.
    clip_bytes = frames * patches * (2 * numbers) * tokens_BTPD.element_size()
    clips = max(1, CHUNK_BYTES // clip_bytes)
    for start in range(0, len(tokens_BTPD), clips):
        yield slice(start, start + clips)

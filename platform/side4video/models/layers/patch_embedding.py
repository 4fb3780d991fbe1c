"""The 3-D patch embedding, computed clip by clip from the frames as they came.

Legend: B clips, T frames, C channels, H, W pixels, P patches of a frame, K = C·p·p numbers of a patch, D channels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from side4video.models.layers.precision import compute_dtype, without_autocast
from side4video.models.layers.product import product, weight_gradient

PART_BYTES = 64 * 2**20
"""Patches and responses of the clips that are worked on at a time."""


class TemporalPatchEmbedding(nn.Module):
    """A (3, p, p) convolution of stride (1, p, p), zero padded in time, with bias: frames to patch tokens.

    As one matrix product: each patch gives its response to the three time slices of the kernel, and the three
    responses are added one frame apart. Equals `nn.Conv3d(3, D, (3, p, p), (1, p, p), (1, 0, 0))`, initial values
    included. Frames stay uint8; they are normalised, in forward and again in backward, a few clips at a time, and
    nothing but them is kept.
    """

    def __init__(self, dim: int, *, patch_size: int) -> None:
        super().__init__()
        self.dim, self.patch_size = dim, patch_size
        bound = (3 * 3 * patch_size * patch_size) ** -0.5
        self.weight_DC3HW = nn.Parameter(torch.empty(dim, 3, 3, patch_size, patch_size).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, video_BTCHW: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
        """Frames [B, T, 3, H, W] to tokens [B, T, P, D], P = (H/p)·(W/p) in row order.

        Args:
            video_BTCHW: Frames as they came.
            normalise: Makes of them what is embedded.
        """
        dtype = compute_dtype(self.weight_DC3HW)
        return _Embed.apply(video_BTCHW, self.weight_DC3HW, self.bias_D, normalise, dtype)


class _Embed(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        video_BTCHW: Tensor,
        weight_DC3HW: Tensor,
        bias_D: Tensor,
        normalise: Callable[[Tensor], Tensor],
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(video_BTCHW)
        ctx.normalise, ctx.dtype, ctx.weight_like = normalise, dtype, weight_DC3HW
        dim, _, _, size, _ = weight_DC3HW.shape
        batch, frames, _, height, width = video_BTCHW.shape
        # The three time slices side by side.
        weight_3DK = rearrange(weight_DC3HW, "d c k p q -> (k d) (c p q)").to(dtype)
        tokens_BTPD = torch.empty(
            (batch, frames, (height // size) * (width // size), dim), dtype=dtype, device=video_BTCHW.device
        )
        for clips in _parts(tokens_BTPD, weight_3DK.shape[1]):
            patches_BTPK = _patches(video_BTCHW[clips], normalise, size, dtype)
            responses = product(patches_BTPK.flatten(0, 2), weight_3DK).view(*patches_BTPK.shape[:3], -1)
            before, here, after = responses.chunk(3, dim=-1)
            part_BTPD = torch.add(here, bias_D.to(dtype), out=tokens_BTPD[clips])
            # The kernel's first slice meets the frame before, its last the frame after.
            part_BTPD[:, 1:] += before[:, :-1]
            part_BTPD[:, :-1] += after[:, 1:]
        return tokens_BTPD

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (video_BTCHW,) = ctx.saved_tensors
        gradient_BTPD = gradients[0]
        dim, channels, _, size, _ = ctx.weight_like.shape
        learnt = torch.zeros(3 * dim, channels * size * size, dtype=ctx.weight_like.dtype, device=gradient_BTPD.device)
        for clips in _parts(gradient_BTPD, learnt.shape[1]):
            patches_BTPK = _patches(video_BTCHW[clips], ctx.normalise, size, ctx.dtype)
            part_BTPD = gradient_BTPD[clips]
            shifted = part_BTPD.new_zeros(*part_BTPD.shape[:3], 3 * dim)
            shifted[:, :-1, :, :dim] = part_BTPD[:, 1:]
            shifted[..., dim : 2 * dim] = part_BTPD
            shifted[:, 1:, :, 2 * dim :] = part_BTPD[:, :-1]
            learnt += weight_gradient(shifted.flatten(0, 2), patches_BTPK.flatten(0, 2))
        learnt = rearrange(learnt, "(k d) (c p q) -> d c k p q", k=3, c=channels, p=size, q=size).contiguous()
        bias_gradient = gradient_BTPD.sum((0, 1, 2), dtype=learnt.dtype)
        return None, learnt, bias_gradient, None, None


def _patches(video_BTCHW: Tensor, normalise: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype) -> Tensor:
    return rearrange(normalise(video_BTCHW).to(dtype), "b t c (h p) (w q) -> b t (h w) (c p q)", p=size, q=size)


def _parts(tokens_BTPD: Tensor, numbers_of_patch: int) -> Iterator[slice]:
    _, frames, patches, dim = tokens_BTPD.shape
    clip_bytes = frames * patches * (2 * numbers_of_patch + 3 * dim) * tokens_BTPD.element_size()
    clips = max(1, PART_BYTES // clip_bytes)
    for start in range(0, len(tokens_BTPD), clips):
        yield slice(start, start + clips)

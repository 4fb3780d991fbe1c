"""Self-attention of the side network: over the tokens of a frame, and over the frames of a position.

Legend: B clips, T frames, N = B·T, P tokens of the stream in a frame (queries), S keys, D channels, h heads, k channels
of a head.
"""

from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TokenLayout
from side4video.models.layers.folded import affine_linear
from side4video.models.layers.normalization import layer_norm, layer_normalise
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.product import linear

HEAD_WIDTH = 64


class _Attention(nn.Module):
    """Norm, one projection to queries, keys and values, and one out; initial values of the authors' code."""

    def __init__(self, dim: int, *, norms: Literal["pre", "post"], residual_scale: float) -> None:
        super().__init__()
        self.heads, self.is_post = dim // HEAD_WIDTH, norms == "post"
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.leave = nn.Linear(dim, dim)
        if not self.is_post:
            # The EVA variant keeps torch's initial values.
            nn.init.normal_(self.query_key_value.weight, std=dim**-0.5)
            nn.init.zeros_(self.query_key_value.bias)
            nn.init.normal_(self.leave.weight, std=dim**-0.5 * residual_scale)
            nn.init.zeros_(self.leave.bias)

    def mix(self, tokens_NSD: Tensor, keys_only: int) -> Tensor:
        """Attention over S; the first `keys_only` tokens have no query: [N, S - keys_only, D]."""
        if self.is_post:
            entered = affine_linear(tokens_NSD, None, self.query_key_value)
        else:
            entered = affine_linear(layer_normalise(tokens_NSD), self.norm, self.query_key_value)
        query, key, value = _SplitHeads.apply(entered, self.heads, keys_only)
        mixed_NPD = rearrange(F.scaled_dot_product_attention(query, key, value), "N h P k -> N P (h k)")
        dtype = compute_dtype(self.leave.weight)
        left_NPD = linear(mixed_NPD, self.leave.weight.to(dtype), self.leave.bias.to(dtype))
        if not self.is_post:
            return left_NPD
        return layer_norm(left_NPD, self.norm)


class FrameAttention(_Attention):
    """Attention of a frame's tokens over each other and over the tower's shifted class token (section 3.3)."""

    def forward(self, tokens_BTPD: Tensor, cls_BTD: Tensor | None, spatial_PD: Tensor | None) -> Tensor:
        """The branch's output [B, T, P, D].

        Args:
            tokens_BTPD: The stream.
            cls_BTD: One more key and value per frame; None for none.
            spatial_PD: Added to the patches (the last tokens of the stream) before attention. If it has one row more
                than the stream, its first row is added to `cls_BTD`.
        """
        keys_BTSD = tokens_BTPD
        if spatial_PD is not None:
            added = spatial_PD.to(tokens_BTPD.dtype)
            if cls_BTD is not None and len(added) > tokens_BTPD.shape[2]:
                cls_BTD, added = cls_BTD + added[0], added[1:]
            before = tokens_BTPD.shape[2] - len(added)
            keys_BTSD = tokens_BTPD + (F.pad(added, (0, 0, before, 0)) if before else added)
        if cls_BTD is not None:
            keys_BTSD = torch.cat([cls_BTD.unsqueeze(2), keys_BTSD], dim=2)
        mixed_NPD = self.mix(keys_BTSD.flatten(0, 1), 0 if cls_BTD is None else 1)
        return mixed_NPD.view_as(tokens_BTPD)


class TimeAttention(_Attention):
    """Attention of each position over the frames of its clip."""

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """The branch's output [B, T, P, D]."""
        patches = tokens_BTPD.shape[2]
        mixed = self.mix(rearrange(tokens_BTPD, "B T P D -> (B P) T D"), 0)
        return rearrange(mixed, "(B P) T D -> B T P D", P=patches)


def split_class_token(tokens_BTSD: Tensor, layout: TokenLayout) -> tuple[Tensor | None, Tensor]:
    """The class token [B, T, D], None where there is none, and the patches [B, T, P, D]: views."""
    if layout.class_token is None:
        return None, layout.patch_tokens(tokens_BTSD)
    return _SplitClassToken.apply(tokens_BTSD, layout)


class _SplitClassToken(torch.autograd.Function):
    """Backward writes both gradients into one tensor; autograd would add two padded ones."""

    @staticmethod
    def forward(ctx: Any, tokens_BTSD: Tensor, layout: TokenLayout) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.layout = tokens_BTSD.shape, layout
        return layout.class_token_of(tokens_BTSD), layout.patch_tokens(tokens_BTSD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        class_BTD, patches_BTPD = gradients
        together = patches_BTPD.new_empty(ctx.shape)
        if ctx.layout.prefix_tokens > 1:
            together[:, :, : ctx.layout.prefix_tokens] = 0
        ctx.layout.class_token_of(together).copy_(class_BTD)
        ctx.layout.patch_tokens(together).copy_(patches_BTPD)
        return together, None


class _SplitHeads(torch.autograd.Function):
    """Queries, keys and values [N, h, S, k] as views of one tensor; backward writes one gradient tensor.

    Autograd would pad the queries' gradient with zeros and stack the three.
    """

    @staticmethod
    def forward(ctx: Any, entered: Tensor, heads: int, keys_only: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.heads, ctx.keys_only = heads, keys_only
        query, key, value = entered.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return query[:, :, keys_only:], key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        query, key, value = gradients
        rows, heads, keys, width = key.shape
        together = torch.empty((rows, keys, 3, heads, width), dtype=key.dtype, device=key.device)
        together[:, : ctx.keys_only, 0] = 0
        together[:, ctx.keys_only :, 0] = query.transpose(1, 2)
        together[:, :, 1] = key.transpose(1, 2)
        together[:, :, 2] = value.transpose(1, 2)
        return together.flatten(2), None, None

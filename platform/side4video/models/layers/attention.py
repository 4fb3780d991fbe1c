"""Self-attention of the side network: over the tokens of a frame, and over the frames of a position.

Legend: B clips, T frames, N = B·T, P tokens of the stream in a frame, S tokens that are seen, D channels, h heads,
k channels of a head.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.folded import affine_linear
from side4video.models.layers.normalization import layer_norm, layer_normalise
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.product import linear

HEAD_WIDTH = 64


class _Attention(nn.Module):
    """Queries, keys, values, and the layer that leaves; the initial values are those of the authors' code."""

    def __init__(self, dim: int, *, norms: Literal["pre", "post"], residual_scale: float) -> None:
        super().__init__()
        self.heads, self.is_post = dim // HEAD_WIDTH, norms == "post"
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.leave = nn.Linear(dim, dim)
        if not self.is_post:
            # The EVA variant has torch's own initial values here.
            nn.init.normal_(self.query_key_value.weight, std=dim**-0.5)
            nn.init.zeros_(self.query_key_value.bias)
            nn.init.normal_(self.leave.weight, std=dim**-0.5 * residual_scale)
            nn.init.zeros_(self.leave.bias)

    def mix(self, seen_NSD: Tensor, unseeing: int) -> Tensor:
        """Attend over S; the first `unseeing` tokens are seen and do not see: [N, S - unseeing, D]."""
        if self.is_post:
            entered = affine_linear(seen_NSD, None, self.query_key_value)
        else:
            entered = affine_linear(layer_normalise(seen_NSD), self.norm, self.query_key_value)
        query, key, value = _SplitHeads.apply(entered, self.heads, unseeing)
        mixed_NPD = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        dtype = compute_dtype(self.leave.weight)
        left_NPD = linear(mixed_NPD, self.leave.weight.to(dtype), self.leave.bias.to(dtype))
        if not self.is_post:
            return left_NPD
        return layer_norm(left_NPD, self.norm)


class FrameAttention(_Attention):
    """Attention of a frame's tokens over each other and over the tower's shifted [CLS] token (section 3.3)."""

    def forward(self, tokens_BTPD: Tensor, cls_BTD: Tensor | None, spatial_PD: Tensor | None) -> Tensor:
        """The branch's output [B, T, P, D].

        Args:
            tokens_BTPD: The stream.
            cls_BTD: Seen by every token, and seeing none; None where there is none.
            spatial_PD: Added to the patches in here alone: the last tokens of the stream, where it has more. Where
                the table has one row more than the stream, its first is added to `cls_BTD`.
        """
        seen_BTSD = tokens_BTPD
        if spatial_PD is not None:
            placed = spatial_PD.to(tokens_BTPD.dtype)
            if cls_BTD is not None and len(placed) > tokens_BTPD.shape[2]:
                cls_BTD, placed = cls_BTD + placed[0], placed[1:]
            ahead = tokens_BTPD.shape[2] - len(placed)
            seen_BTSD = tokens_BTPD + (F.pad(placed, (0, 0, ahead, 0)) if ahead else placed)
        if cls_BTD is not None:
            seen_BTSD = torch.cat([cls_BTD.unsqueeze(2), seen_BTSD], dim=2)
        mixed_NPD = self.mix(seen_BTSD.flatten(0, 1), 0 if cls_BTD is None else 1)
        return mixed_NPD.view_as(tokens_BTPD)


class TimeAttention(_Attention):
    """Attention of each position over the frames of its clip."""

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """The branch's output [B, T, P, D]."""
        batch, _, patches, _ = tokens_BTPD.shape
        series_NTD = tokens_BTPD.transpose(1, 2).flatten(0, 1)
        return self.mix(series_NTD, 0).view(batch, patches, -1, series_NTD.shape[-1]).transpose(1, 2)


def split_cls(tokens_BTSD: Tensor) -> tuple[Tensor, Tensor]:
    """The first token of each frame [B, T, D], and the others [B, T, S - 1, D]: views, one tensor in backward."""
    return _SplitCls.apply(tokens_BTSD)


class _SplitCls(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens_BTSD: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape = tokens_BTSD.shape
        return tokens_BTSD[:, :, 0], tokens_BTSD[:, :, 1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        first, others = gradients
        together = others.new_empty(ctx.shape)
        together[:, :, 0] = first
        together[:, :, 1:] = others
        return together


class _SplitHeads(torch.autograd.Function):
    """Queries, keys and values [N, h, S, k] as views of one tensor, and in backward one tensor from the three.

    Autograd's own way makes a tensor of zeros for the rows without queries, and stacks.
    """

    @staticmethod
    def forward(ctx: Any, entered: Tensor, heads: int, unseeing: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.heads, ctx.unseeing = heads, unseeing
        query, key, value = entered.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return query[:, :, unseeing:], key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        query, key, value = gradients
        rows, heads, seen, width = key.shape
        together = torch.empty((rows, seen, 3, heads, width), dtype=key.dtype, device=key.device)
        together[:, : ctx.unseeing, 0] = 0
        together[:, ctx.unseeing :, 0] = query.transpose(1, 2)
        together[:, :, 1] = key.transpose(1, 2)
        together[:, :, 2] = value.transpose(1, 2)
        return together.flatten(2), None, None

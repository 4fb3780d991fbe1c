"""Cross-Modal Adapter stated independently, in float64, frame by frame and text by text.

From the paper's section 3.3 and the released code: in every block of both towers, what attention gives and what the
MLP gives passes y + up(QuickGELU(down(y))) before the residual sum; the last rows of `up` belong to both towers.
"""

import torch
from torch import Tensor

import clip_statement as clip
import clip_text_statement as text


def adapter(y: Tensor, state: dict[str, Tensor], place: str, side: str, *, twin: str) -> Tensor:
    hidden = clip.linear(y, state, f"{place}.{side}.enter")
    hidden = clip.gelu(hidden) if twin == "gelu" else clip.quick_gelu(hidden)
    own = clip.linear(hidden, state, f"{place}.{side}.leave")
    common = clip.linear(hidden, state, f"{place}.shared")
    up = torch.cat([common, own] if twin == "shared first" else [own, common], -1)
    return up if twin == "no skip" else y + up


def frames(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    twin: str = "",
) -> Tensor:
    """Features [B, T, E]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    out = []
    for frame in video_BTCHW.flatten(0, 1):
        x = clip.embed(frame, tower)
        for index in range(depth):
            y = clip.attention(x, tower, index, heads)
            x = x + adapter(y, state, f"after_attention.{index}", "image", twin=twin)
            normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
            y = clip.mlp(normed, tower, index, quick=quick)
            x = x + adapter(y, state, f"after_perceptron.{index}", "image", twin=twin)
        out.append(clip.layer_norm(x[0], tower, "ln_post") @ tower["proj"])
    return torch.stack(out).unflatten(0, video_BTCHW.shape[:2])


def words(
    tokens_QW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    twin: str = "",
) -> Tensor:
    """Features [Q, W, E]."""
    out = []
    for tokens_W in tokens_QW:
        x = text.embed(tokens_W, tower)
        for index in range(depth):
            y = text.attention(x, tower, index, heads)
            x = x + adapter(y, state, f"after_attention.{index}", "text", twin=twin)
            y = text.mlp(x, tower, index, quick=quick)
            x = x + adapter(y, state, f"after_perceptron.{index}", "text", twin=twin)
        out.append(text.finish(x, tower))
    return torch.stack(out)

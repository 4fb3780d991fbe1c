"""UniAdapter on CLIP stated independently, in float64, frame by frame and text by text.

From the paper's section 3.2 and the released code: beside the MLP of block i of either tower stands
scale · up(ReLU(down(LN(x)))), x the stream in front of the MLP; LN and down are both towers', up is each tower's own.
A tower narrower than the other uses the first channels of LN and of down.
"""

import torch
from torch import Tensor

import clip_statement as clip
import clip_text_statement as text


def adapter(x: Tensor, state: dict[str, Tensor], index: int, side: str, *, scale: float, twin: str) -> Tensor:
    name, width = f"adapters.{index}", x.shape[-1]
    own = {
        "norm.weight": state[f"{name}.norm.weight"][:width],
        "norm.bias": state[f"{name}.norm.bias"][:width],
        "enter.weight": state[f"{name}.enter.weight"][:, :width],
        "enter.bias": state[f"{name}.enter.bias"],
    }
    if twin == "last channels":
        own["enter.weight"] = state[f"{name}.enter.weight"][:, -width:]
    seen = x if twin == "no norm" else clip.layer_norm(x, own, "norm")
    hidden = clip.linear(seen, own, "enter")
    hidden = clip.gelu(hidden) if twin == "gelu" else hidden.clamp(min=0)
    return scale * clip.linear(hidden, state, f"{name}.{side}")


def beside(x: Tensor, mlp: Tensor, state: dict[str, Tensor], index: int, side: str, *, scale: float, twin: str):
    """The stream behind a block's MLP and the adapter beside it."""
    if twin == "in series":
        return x + mlp + adapter(x + mlp, state, index, side, scale=scale, twin="")
    return x + mlp + adapter(x, state, index, side, scale=scale, twin=twin)


def frames(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    scale: float,
    twin: str = "",
) -> Tensor:
    """Features [B, T, E]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    out = []
    for frame in video_BTCHW.flatten(0, 1):
        x = clip.embed(frame, tower)
        for index in range(depth):
            x = x + clip.attention(x, tower, index, heads)
            normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
            mlp = clip.mlp(normed, tower, index, quick=quick)
            x = beside(x, mlp, state, index, "image", scale=scale, twin=twin)
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
    scale: float,
    twin: str = "",
) -> Tensor:
    """Features [Q, W, E]."""
    out = []
    for tokens_W in tokens_QW:
        x = text.embed(tokens_W, tower)
        for index in range(depth):
            x = x + text.attention(x, tower, index, heads)
            mlp = text.mlp(x, tower, index, quick=quick)
            x = beside(x, mlp, state, index, "text", scale=scale, twin=twin)
        out.append(text.finish(x, tower))
    return torch.stack(out)

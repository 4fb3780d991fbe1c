"""UniFormerV2 stated independently, in float64, on images [D, T, y, x]: nothing of the package is used.

`state` holds float64 tensors of the network by name, `tower` those of the image tower under OpenAI's names.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

import clip_statement as clip


def embed(video_FCHW: Tensor, tower: dict[str, Tensor], state: dict[str, Tensor], *, has_local: bool) -> Tensor:
    """Tokens [T, S, D] of one clip: a convolution over three frames, stride 2, or one over single frames."""
    kernel, stride, padding = tower["conv1.weight"][:, :, None], 1, 0
    if has_local:
        kernel = torch.stack([state["stem.before_DCHW"], tower["conv1.weight"], state["stem.after_DCHW"]], dim=2)
        stride, padding = 2, 1
    size = kernel.shape[-1]
    image = F.conv3d(
        video_FCHW.transpose(0, 1)[None], kernel, stride=(stride, size, size), padding=(padding, 0, 0)
    ).squeeze(0)
    frames = []
    for t in range(image.shape[1]):
        tokens = torch.cat([tower["class_embedding"][None], image[:, t].flatten(1).T])
        frames.append(clip.layer_norm(tokens + tower["positional_embedding"], tower, "ln_pre"))
    return torch.stack(frames)


def batch_norm(x: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    """Over clips, frames and places of [B, T, P, D]."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2), unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def local(x_BTSD: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    """L-MHRA on the patches; the class token passes by."""
    patches = x_BTSD[:, :, 1:]
    hidden = clip.linear(batch_norm(patches, state, f"{name}.norm", training=training), state, f"{name}.enter")
    kernel = state[f"{name}.mix.weight_3D"].T[:, None, :]
    batch, frames, places, inner = hidden.shape
    series = hidden.permute(0, 2, 3, 1).reshape(batch * places, inner, frames)
    mixed = F.conv1d(series, kernel, state[f"{name}.mix.bias_D"], padding=1, groups=inner)
    mixed = mixed.reshape(batch, places, inner, frames).permute(0, 3, 1, 2)
    return torch.cat([x_BTSD[:, :, :1], patches + clip.linear(mixed, state, f"{name}.leave")], dim=2)


def read(q_1D: Tensor, x_TSD: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """The query of one clip after one stage."""
    side = math.isqrt(x_TSD.shape[1] - 1)
    image = x_TSD[:, 1:].unflatten(1, (side, side)).permute(3, 0, 1, 2)[None]
    kernel, bias = state[f"{name}.positions.weight"], state[f"{name}.positions.bias"]
    placed = image + F.conv3d(image, kernel, bias, padding=1, groups=len(kernel))
    patches = placed[0].permute(1, 2, 3, 0).flatten(1, 2)
    k = clip.layer_norm(torch.cat([x_TSD[:, :1], patches], 1).flatten(0, 1), state, f"{name}.reader.token_norm")
    asked = clip.linear(clip.layer_norm(q_1D, state, f"{name}.reader.query_norm"), state, f"{name}.reader.query")
    key, value = (clip.linear(k, state, f"{name}.reader.{part}") for part in ("key", "value"))
    q_1D = q_1D + clip.linear(clip.run_attention(asked, key, value, heads), state, f"{name}.reader.leave")
    hidden = clip.linear(clip.layer_norm(q_1D, state, f"{name}.reader.perceptron_norm"), state, f"{name}.reader.widen")
    return q_1D + clip.linear(clip.quick_gelu(hidden), state, f"{name}.reader.narrow")


def frozen(
    tokens: dict[int, Tensor], state: dict[str, Tensor], *, taps: tuple[int, ...], frames: int, heads: int
) -> Tensor:
    """Features [B, D] from tokens [N, S, D] of blocks."""
    features = []
    for first in range(0, len(tokens[taps[0]]), frames):
        q = state["reader.query_D"][None]
        for number, tap in enumerate(taps):
            q = read(q, tokens[tap][first : first + frames], state, f"reader.stages.{number}", heads)
        features.append(clip.layer_norm(q[0], state, "reader.norm"))
    return torch.stack(features)


def trained(
    video_BFCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    taps: tuple[int, ...],
    depth: int,
    heads: int,
    quick: bool,
    has_local: bool,
    training: bool,
) -> Tensor:
    """Features [B, D]."""
    x = torch.stack([embed(frames, tower, state, has_local=has_local) for frames in video_BFCHW])
    batch = len(x)
    queries = [state["reader.query_D"][None]] * batch
    for index in range(depth):
        if has_local:
            x = local(x, state, f"local.{index}.before_attention", training=training)
        x = x + torch.stack([torch.stack([clip.attention(f, tower, index, heads) for f in c]) for c in x])
        if has_local:
            x = local(x, state, f"local.{index}.before_perceptron", training=training)
        normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
        x = x + clip.mlp(normed, tower, index, quick=quick)
        if index in taps:
            name = f"reader.stages.{taps.index(index)}"
            queries = [read(queries[b], x[b], state, name, heads) for b in range(batch)]
    share = 1 / (1 + torch.exp(-state["class_share_D"]))
    joined = torch.stack([(1 - share) * queries[b][0] + share * x[b, :, 0].mean(0) for b in range(batch)])
    return clip.layer_norm(joined, state, "reader.norm")

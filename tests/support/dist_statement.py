"""DiST stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3 (Qing et al., 2023, arXiv 2309.07911); where it is silent, what the released code computes.
"""

import math

import torch
from torch import Tensor

from clip_statement import layer_norm, linear


def activated(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def over_time(x_BUPI: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    weight, bias = state[f"{name}.weight_KOI"], state[f"{name}.bias_O"]
    frames, half = x_BUPI.shape[1], len(weight) // 2
    out = []
    for t in range(frames):
        total = bias
        for offset in range(-half, half + 1):
            if 0 <= t + offset < frames:
                total = total + torch.einsum("bpi,oi->bpo", x_BUPI[:, t + offset], weight[offset + half])
        out.append(total.expand(*x_BUPI[:, 0].shape[:-1], len(bias)))
    return torch.stack(out, 1)


def over_space(x_BUPM: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    grid = math.isqrt(x_BUPM.shape[2])
    out = []
    for row in range(grid):
        for column in range(grid):
            total = bias.expand_as(x_BUPM[:, :, 0])
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if 0 <= row + down < grid and 0 <= column + right < grid:
                        neighbour = x_BUPM[:, :, (row + down) * grid + column + right]
                        total = total + torch.einsum("bui,oi->buo", neighbour, weight[:, :, down + 1, right + 1])
            out.append(total)
    return torch.stack(out, 2)


def stem(video_BUCHW: Tensor, patch_size: int, state: dict[str, Tensor]) -> Tensor:
    size, patches = patch_size, []
    for row in range(video_BUCHW.shape[-2] // size):
        for column in range(video_BUCHW.shape[-1] // size):
            cut = video_BUCHW[..., row * size : (row + 1) * size, column * size : (column + 1) * size]
            patches.append(cut.flatten(2))
    return over_time(torch.stack(patches, 2), state, "stem.convolution")


def pooled(query_GI: Tensor, tokens_GLI: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    dim = query_GI.shape[-1]
    weight, bias = state[f"{name}.weight_3II"], state[f"{name}.bias_3I"]
    asked, seen = (layer_norm(x, state, f"{name}.norm") for x in (query_GI, tokens_GLI))
    query = asked @ weight[:dim].T + bias[:dim]
    key = seen @ weight[dim : 2 * dim].T + bias[dim : 2 * dim]
    value = seen @ weight[2 * dim :].T + bias[2 * dim :]
    mixed = []
    for start in range(0, dim, 64):
        part = slice(start, start + 64)
        logits = torch.einsum("gc,glc->gl", query[:, part], key[:, :, part]) / 8
        mixed.append(torch.einsum("gl,glc->gc", torch.softmax(logits, -1), value[:, :, part]))
    out = query_GI + linear(torch.cat(mixed, -1), state, f"{name}.leave")
    hidden = linear(layer_norm(out, state, f"{name}.perceptron_norm"), state, f"{name}.widen")
    return out + linear(activated(hidden), state, f"{name}.narrow")


def dist(
    video_BUCHW: Tensor,
    tokens: dict[int, Tensor],
    state: dict[str, Tensor],
    *,
    alpha: int,
    patch_size: int,
    pooling_layers: int,
) -> Tensor:
    """Features [B, E]; `state` holds float64 copies of the network's tensors by name."""
    batch, frames = video_BUCHW.shape[:2]
    seen = frames // alpha
    x_t = stem(video_BUCHW, patch_size, state)
    res = torch.zeros((), dtype=x_t.dtype)
    for number in range(len(tokens)):
        name = f"stages.{number}"
        inner = over_time(layer_norm(x_t, state, f"{name}.temporal.norm"), state, f"{name}.temporal.over_time")
        x_t = activated(x_t + over_space(activated(inner), state, f"{name}.temporal.over_space"))
        m = tokens[number].reshape(batch, seen, *tokens[number].shape[1:])
        mid = linear(m, state, f"{name}.down") + res
        weight = state[f"{name}.to_integration.weight"]
        told, informed = [], []
        for t in range(seen):
            total = state[f"{name}.to_integration.bias"]
            for a in range(alpha):
                slice_ = weight[:, a * x_t.shape[-1] : (a + 1) * x_t.shape[-1]]
                total = total + torch.einsum("bpm,im->bpi", x_t[:, t * alpha + a], slice_)
            own = state[f"{name}.class_TI"][t].expand(batch, 1, -1)
            told.append(torch.cat([own, total], 1))
            back = linear(mid[:, t, 1:], state, f"{name}.to_temporal")
            informed += [x_t[:, t * alpha + a] + back for a in range(alpha)]
        up = mid + torch.stack(told, 1)
        x_t = torch.stack(informed, 1)
        block = f"{name}.integration"
        spatial = activated(linear(layer_norm(up, state, f"{block}.norm"), state, f"{block}.enter"))
        temporal = linear(layer_norm(up, state, f"{block}.temporal_norm"), state, f"{block}.temporal_enter")
        temporal = activated(over_time(temporal, state, f"{block}.temporal_mix"))
        res = linear(spatial, state, f"{block}.leave") + linear(temporal, state, f"{block}.temporal_leave")
    f = (res + up).reshape(batch * seen, *up.shape[2:])
    frame, clip = state["frame_query_I"].expand(batch * seen, -1), state["clip_query_I"].expand(batch, -1)
    for number in range(pooling_layers):
        name = f"pooling.{number}"
        frame = pooled(frame, f, state, f"{name}.over_space")
        placed = frame.reshape(batch, seen, -1) + state[f"{name}.positions_TI"]
        clip = pooled(clip, placed, state, f"{name}.over_time")
    last = linear(m[:, :, 0], state, "class_down").mean(1)
    return layer_norm(clip + last, state, "final_norm") @ state["projection_IE"]

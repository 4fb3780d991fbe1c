"""Side4Video stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3.3 (eq. 1 to 3, Figure 3); where it is silent, what the released code computes.
"""

import math

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def batch_norm(x_BTPD: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    if training:
        mean = x_BTPD.mean((0, 1, 2))
        variance = ((x_BTPD - mean) ** 2).mean((0, 1, 2))
    else:
        mean, variance = state[f"{name}.norm.running_mean"], state[f"{name}.norm.running_var"]
    return (x_BTPD - mean) / torch.sqrt(variance + 1e-5) * state[f"{name}.norm.weight"] + state[f"{name}.norm.bias"]


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return torch.einsum("...i,oi->...o", x, state[f"{name}.weight"]) + state[f"{name}.bias"]


def stem(video_BTCHW: Tensor, state: dict[str, Tensor]) -> Tensor:
    weight, bias = state["stem.weight_DC3HW"], state["stem.bias_D"]
    batch, frames, _, height, width = video_BTCHW.shape
    size = weight.shape[-1]
    out = torch.zeros(batch, frames, (height // size) * (width // size), len(bias), dtype=video_BTCHW.dtype)
    for t in range(frames):
        for row in range(height // size):
            for column in range(width // size):
                total = bias.clone().expand(batch, -1).clone()
                for offset in (-1, 0, 1):
                    if 0 <= t + offset < frames:
                        patch = video_BTCHW[
                            :, t + offset, :, row * size : (row + 1) * size, column * size : (column + 1) * size
                        ]
                        total = total + torch.einsum("bchw,dchw->bd", patch, weight[:, :, offset + 1])
                out[:, t, row * (width // size) + column] = total
    return out


def temporal(x_BTPD: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    h = linear(batch_norm(x_BTPD, state, f"{name}.norm", training=training), state, f"{name}.enter")
    weight, bias = state[f"{name}.mix.weight_3D"], state[f"{name}.mix.bias_D"]
    mixed = []
    for t in range(h.shape[1]):
        total = bias + weight[1] * h[:, t]
        if t > 0:
            total = total + weight[0] * h[:, t - 1]
        if t + 1 < h.shape[1]:
            total = total + weight[2] * h[:, t + 1]
        mixed.append(total)
    return linear(torch.stack(mixed, 1), state, f"{name}.leave")


def attention(x_BTPD: Tensor, cls_BTD: Tensor | None, state: dict[str, Tensor], name: str) -> Tensor:
    dim = x_BTPD.shape[-1]
    out = torch.zeros_like(x_BTPD)
    weight, bias = state[f"{name}.query_key_value.weight"], state[f"{name}.query_key_value.bias"]
    for b in range(x_BTPD.shape[0]):
        for t in range(x_BTPD.shape[1]):
            patches = x_BTPD[b, t]
            seen = patches if cls_BTD is None else torch.cat([cls_BTD[b, t : t + 1], patches])
            seen = layer_norm(seen, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
            asked = seen if cls_BTD is None else seen[1:]
            query = asked @ weight[:dim].T + bias[:dim]
            key = seen @ weight[dim : 2 * dim].T + bias[dim : 2 * dim]
            value = seen @ weight[2 * dim :].T + bias[2 * dim :]
            heads = []
            for start in range(0, dim, 64):
                part = slice(start, start + 64)
                logits = query[:, part] @ key[:, part].T / math.sqrt(64)
                heads.append(torch.softmax(logits, -1) @ value[:, part])
            out[b, t] = linear(torch.cat(heads, -1), state, f"{name}.leave")
    return out


def shifted(cls_BTD: Tensor) -> Tensor:
    frames, half = cls_BTD.shape[1], cls_BTD.shape[2] // 2
    out = torch.zeros_like(cls_BTD)
    for t in range(frames):
        if t + 1 < frames:
            out[:, t, :half] = cls_BTD[:, t + 1, :half]
        if t > 0:
            out[:, t, half:] = cls_BTD[:, t - 1, half:]
    return out


def side4video(
    video_BTCHW: Tensor,
    tokens: dict[int, Tensor],
    state: dict[str, Tensor],
    *,
    taps: tuple[int, ...],
    mixing: str,
    cls_shift: bool,
    training: bool,
) -> Tensor:
    """Features [B, d]; `state` holds float64 copies of the network's tensors by name."""
    batch, frames = video_BTCHW.shape[:2]
    s = stem(video_BTCHW, state)
    if "stem_norm.norm.weight" in state:
        s = batch_norm(s, state, "stem_norm", training=training)
    for number, tap in enumerate(taps):
        name = f"blocks.{number}"
        z = tokens[tap].reshape(batch, frames, *tokens[tap].shape[1:])
        u = linear(
            layer_norm(z, state[f"{name}.down.norm.weight"], state[f"{name}.down.norm.bias"]),
            state,
            f"{name}.down.projection",
        )
        s = s + u[:, :, 1:] if mixing == "add" else 0.5 * s + 0.5 * u[:, :, 1:]
        s = s + temporal(s, state, f"{name}.temporal", training=training)
        placed = s + state["spatial_PD"] if "spatial_PD" in state else s
        s = s + attention(placed, shifted(u[:, :, 0]) if cls_shift else None, state, f"{name}.attention")
        h = linear(
            batch_norm(s, state, f"{name}.perceptron.norm", training=training), state, f"{name}.perceptron.enter"
        )
        h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        s = s + linear(h, state, f"{name}.perceptron.leave")
    if "final_norm.norm.weight" in state:
        s = batch_norm(s, state, "final_norm", training=training)
    return s.mean((1, 2))

"""ATM stated independently, in float64, on images [B, D, T, y, x]: nothing of the package is used.

`state` holds float64 tensors of the network by name, `tower` those of the image tower under OpenAI's names.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

import clip_statement as clip


def filtered(x_BTSD: Tensor, kernel_3D: Tensor) -> Tensor:
    """The class tokens after a filter over time."""
    c = x_BTSD[:, :, 0]
    out = []
    for t in range(c.shape[1]):
        total = kernel_3D[1] * c[:, t]
        if t > 0:
            total = total + kernel_3D[0] * c[:, t - 1]
        if t + 1 < c.shape[1]:
            total = total + kernel_3D[2] * c[:, t + 1]
        out.append(total)
    return torch.cat([torch.stack(out, 1).unsqueeze(2), x_BTSD[:, :, 1:]], dim=2)


def convolution(
    x: Tensor, state: dict[str, Tensor], name: str, *, training: bool, padding: int = 1, stride: int = 1
) -> Tensor:
    """A convolution of kernel (1, 3, 3) over [B, C, T, y, x], batch norm over all but C, ReLU."""
    kernel = state[f"{name}.kernel.weight"].unsqueeze(2)
    y = F.conv3d(x, kernel, stride=(1, stride, stride), padding=(0, padding, padding))
    mean, variance = state[f"{name}.norm.running_mean"], state[f"{name}.norm.running_var"]
    if training:
        mean, variance = y.mean((0, 2, 3, 4)), y.var((0, 2, 3, 4), unbiased=False)
    per_channel = (1, -1, 1, 1, 1)
    y = (y - mean.view(per_channel)) / (variance.view(per_channel) + 1e-5).sqrt()
    gain, shift = state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]
    return F.relu(y * gain.view(per_channel) + shift.view(per_channel))


def shifted(x_BCTyx: Tensor, offset: int) -> Tensor:
    """Frame t + offset at the place of frame t; zero outside of the clip."""
    out = torch.zeros_like(x_BCTyx)
    for t in range(x_BCTyx.shape[2]):
        if 0 <= t + offset < x_BCTyx.shape[2]:
            out[:, :, t] = x_BCTyx[:, :, t + offset]
    return out


def similarity(f_BDTyx: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> list[Tensor]:
    """Five relations [B, 64, T, y, x]."""
    d = convolution(f_BDTyx, state, f"{name}.enter", training=training)
    d = d / ((d**2).sum(1, keepdim=True) + 1e-6).sqrt()
    batch, _, frames, height, width = d.shape
    maps = torch.zeros(batch, 5, frames, height, width, 9, 9, dtype=d.dtype)
    for neighbour in range(5):
        around = F.pad(shifted(d, neighbour - 2), (4, 4, 4, 4))
        for u in range(9):
            for v in range(9):
                moved = around[..., u : u + height, v : v + width]
                maps[:, neighbour, :, :, :, u, v] = (d * moved).sum(1)
    x = maps.reshape(-1, 1, 1, 9, 9)
    x = convolution(x, state, f"{name}.encode.0", training=training)
    x = convolution(x, state, f"{name}.encode.1", training=training, stride=2)
    x = convolution(x, state, f"{name}.encode.2", training=training, stride=2)
    x = convolution(x, state, f"{name}.encode.3", training=training, padding=0)
    encoded = x.reshape(batch, 5, frames, height, width, 64).permute(1, 0, 5, 2, 3, 4)
    return list(encoded)


def difference(f_BDTyx: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> list[Tensor]:
    """Five relations [B, 64, T, y, x]."""
    e = convolution(f_BDTyx, state, f"{name}.enter", training=training)
    return [shifted(e, neighbour - 2) - e for neighbour in range(5)]


def transfer(relations: list[Tensor], state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    """The term [B, D, T, y, x]."""
    x = torch.cat(relations, dim=0)
    for layer in range(2):
        x = convolution(x, state, f"{name}.own.{layer}", training=training)
    x = torch.cat(x.chunk(5, dim=0), dim=1)
    x = convolution(x, state, f"{name}.join", training=training)
    return torch.einsum("bctyx,dc->bdtyx", x, state[f"{name}.leave.weight"])


def module(x_BTSD: Tensor, state: dict[str, Tensor], *, training: bool) -> Tensor:
    """The tokens after the module; class tokens pass by."""
    side = round((x_BTSD.shape[2] - 1) ** 0.5)
    f = x_BTSD[:, :, 1:].unflatten(2, (side, side)).permute(0, 4, 1, 2, 3)
    for relation, kind in ((similarity, "similarity"), (difference, "difference")):
        relations = relation(f, state, f"arithmetic.{kind}", training=training)
        f = F.relu(f + transfer(relations, state, f"arithmetic.{kind}_transfer", training=training))
    return torch.cat([x_BTSD[:, :, :1], f.permute(0, 2, 3, 4, 1).flatten(2, 3)], dim=2)


def atm(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    at: int,
    training: bool,
    filters: bool = True,
) -> Tensor:
    """Features [B, E]."""
    x = torch.stack([torch.stack([clip.embed(frame, tower) for frame in frames]) for frames in video_BTCHW])
    for index in range(depth):
        if index == at:
            x = module(x, state, training=training)
        if filters:
            x = filtered(x, state[f"filters.{index}.before_attention.weight_3D"])
        x = x + torch.stack([torch.stack([clip.attention(f, tower, index, heads) for f in c]) for c in x])
        if filters:
            x = filtered(x, state[f"filters.{index}.before_perceptron.weight_3D"])
        normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
        x = x + clip.mlp(normed, tower, index, quick=quick)
    return (clip.layer_norm(x[:, :, 0], tower, "ln_post") @ tower["proj"]).mean(1)

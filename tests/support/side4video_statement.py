"""Side4Video stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3.3 (eq. 1 to 4, Figure 3); where it is silent, what the released code computes.
"""

import itertools
import math
from typing import Any

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
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return (x_BTPD - mean) / torch.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


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


def bordered_stem(video_BTCHW: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """A (3, p, p) convolution padded by one pixel in space too: patches begin one pixel further up and left."""
    framed = torch.zeros(*video_BTCHW.shape[:3], video_BTCHW.shape[3] + 2, video_BTCHW.shape[4] + 2)
    framed = framed.to(video_BTCHW.dtype)
    framed[..., 1:-1, 1:-1] = video_BTCHW
    size = state[f"{name}.weight_DC3HW"].shape[-1]
    height, width = (length // size * size for length in framed.shape[-2:])
    own = {"stem.weight_DC3HW": state[f"{name}.weight_DC3HW"], "stem.bias_D": state[f"{name}.bias_D"]}
    return stem(framed[..., :height, :width], own)


def two_stems(video_BTCHW: Tensor, around_BTKCHW: Tensor, state: dict[str, Tensor], *, training: bool) -> Tensor:
    """TDS-CLIP's stem; `around_BTKCHW` are the two frames before and the two after each frame."""
    five = [around_BTKCHW[:, :, 0], around_BTKCHW[:, :, 1], video_BTCHW, around_BTKCHW[:, :, 2], around_BTKCHW[:, :, 3]]
    moved = torch.cat([later - earlier for earlier, later in itertools.pairwise(five)], dim=2)
    still = batch_norm(bordered_stem(video_BTCHW, state, "stem"), state, "stem_norm", training=training)
    second = bordered_stem(moved, state, "difference_stem.embedding")
    return still + 0.5 * batch_norm(second, state, "difference_stem.norm", training=training)


def down(z: Tensor, state: dict[str, Tensor], name: str, *, norms: str) -> Tensor:
    weight, bias = state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]
    if norms == "post":
        return layer_norm(linear(z, state, f"{name}.projection"), weight, bias)
    return linear(layer_norm(z, weight, bias), state, f"{name}.projection")


def convolution(x_BTPD: Tensor, state: dict[str, Tensor], name: str, *, norms: str, training: bool) -> Tensor:
    read = x_BTPD if norms == "post" else batch_norm(x_BTPD, state, f"{name}.norm", training=training)
    h = linear(read, state, f"{name}.enter")
    weight, bias = state[f"{name}.mix.weight_3D"], state[f"{name}.mix.bias_D"]
    mixed = []
    for t in range(h.shape[1]):
        total = bias + weight[1] * h[:, t]
        if t > 0:
            total = total + weight[0] * h[:, t - 1]
        if t + 1 < h.shape[1]:
            total = total + weight[2] * h[:, t + 1]
        mixed.append(total)
    out = linear(torch.stack(mixed, 1), state, f"{name}.leave")
    return batch_norm(out, state, f"{name}.norm", training=training) if norms == "post" else out


def gate(v_BTPD: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    """TDS-CLIP's gate: v + v (sigmoid(...) - 1/2), with the difference to the largest of three frames."""
    b = batch_norm(v_BTPD @ state[f"{name}.narrow.weight"].T, state, f"{name}.narrow_norm", training=training)
    frames = b.shape[1]
    moved = []
    for t in range(frames):
        near = torch.stack([b[:, each] for each in (t - 1, t, t + 1) if 0 <= each < frames])
        moved.append(b[:, t] - near.max(0).values)
    m = torch.stack(moved, 1)
    m = 0.5 * m + 0.5 * m.mean(-1, keepdim=True)
    wide = batch_norm(m @ state[f"{name}.widen.weight"].T, state, f"{name}.widen_norm", training=training)
    return v_BTPD + v_BTPD * (torch.sigmoid(wide) - 0.5)


def run_attention(seen_SD: Tensor, asking: int, state: dict[str, Tensor], name: str, *, norms: str) -> Tensor:
    """Attention over one sequence; its first `asking` tokens ask nothing."""
    dim = seen_SD.shape[-1]
    norm = state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]
    read = seen_SD if norms == "post" else layer_norm(seen_SD, *norm)
    weight, bias = state[f"{name}.query_key_value.weight"], state[f"{name}.query_key_value.bias"]
    query = read[asking:] @ weight[:dim].T + bias[:dim]
    key = read @ weight[dim : 2 * dim].T + bias[dim : 2 * dim]
    value = read @ weight[2 * dim :].T + bias[2 * dim :]
    heads = []
    for start in range(0, dim, 64):
        part = slice(start, start + 64)
        logits = query[:, part] @ key[:, part].T / math.sqrt(64)
        heads.append(torch.softmax(logits, -1) @ value[:, part])
    out = linear(torch.cat(heads, -1), state, f"{name}.leave")
    return layer_norm(out, *norm) if norms == "post" else out


def over_space(
    x_BTPD: Tensor, cls_BTD: Tensor | None, places: Tensor | None, state: dict[str, Tensor], name: str, *, norms: str
) -> Tensor:
    rows = []
    for b in range(x_BTPD.shape[0]):
        frames = []
        for t in range(x_BTPD.shape[1]):
            tokens = x_BTPD[b, t]
            if places is not None:
                ahead = len(tokens) - len(places)
                tokens = torch.cat([tokens[:ahead], tokens[ahead:] + places])
            seen = tokens if cls_BTD is None else torch.cat([cls_BTD[b, t : t + 1], tokens])
            frames.append(run_attention(seen, 0 if cls_BTD is None else 1, state, name, norms=norms))
        rows.append(torch.stack(frames))
    return torch.stack(rows)


def over_time(x_BTPD: Tensor, state: dict[str, Tensor], name: str, *, norms: str) -> Tensor:
    rows = []
    for b in range(x_BTPD.shape[0]):
        places = [run_attention(x_BTPD[b, :, p], 0, state, name, norms=norms) for p in range(x_BTPD.shape[2])]
        rows.append(torch.stack(places, 1))
    return torch.stack(rows)


def shifted(cls_BTD: Tensor) -> Tensor:
    frames, half = cls_BTD.shape[1], cls_BTD.shape[2] // 2
    out = torch.zeros_like(cls_BTD)
    for t in range(frames):
        if t + 1 < frames:
            out[:, t, :half] = cls_BTD[:, t + 1, :half]
        if t > 0:
            out[:, t, half:] = cls_BTD[:, t - 1, half:]
    return out


def fuse(s: Tensor, u: Tensor, state: dict[str, Tensor], name: str, mixing: str) -> Tensor:
    if mixing == "add":
        return s + u
    share = torch.sigmoid(state[f"{name}.gate"] / 0.1) if mixing == "gate" else 0.5
    return share * s + (1 - share) * u


def run_mlp(x: Tensor, state: dict[str, Tensor], name: str, *, norms: str, training: bool) -> Tensor:
    norm = f"{name}.perceptron_norm"
    h = linear(
        x if norms == "post" else batch_norm(x, state, norm, training=training), state, f"{name}.perceptron.enter"
    )
    out = linear(h * 0.5 * (1 + torch.erf(h / math.sqrt(2))), state, f"{name}.perceptron.leave")
    return batch_norm(out, state, norm, training=training) if norms == "post" else out


def side4video(
    video_BTCHW: Tensor,
    tokens: dict[int, Tensor],
    state: dict[str, Tensor],
    *,
    taps: tuple[int, ...],
    mixing: str = "add",
    temporal_module: str = "conv",
    temporal_gate: bool = False,
    cls_shift: bool = True,
    shifted_token: str = "auto",
    pooled_BTD: Tensor | None = None,
    representation: str = "gap",
    norms: str = "pre",
    training: bool,
    over: tuple[int, ...] = (1, 2),
    around_BTKCHW: Tensor | None = None,
) -> Tensor:
    """Features [B, d], or [B, T, d]; `state` holds float64 copies of the network's tensors by name."""
    batch, frames = video_BTCHW.shape[:2]
    if around_BTKCHW is not None:
        s = two_stems(video_BTCHW, around_BTKCHW, state, training=training)
    else:
        s = stem(video_BTCHW, state)
        if "stem_norm.weight" in state:
            s = batch_norm(s, state, "stem_norm", training=training)
    places = state.get("spatial_PD")
    # For retrieval there is one place more, the shifted [CLS] token's.
    cls_place = 0.0
    if places is not None and len(places) > s.shape[2]:
        cls_place, places = places[0], places[1:]
    # The stream's own token, where it has one, is kept apart from the patches here.
    c = torch.zeros(batch, frames, 1, s.shape[-1], dtype=s.dtype)
    if representation == "extra-cls":
        c = c + state["extra_D"]
    for number, tap in enumerate(taps):
        name = f"blocks.{number}"
        u = down(tokens[tap].reshape(batch, frames, *tokens[tap].shape[1:]), state, f"{name}.down", norms=norms)
        s = fuse(s, u[:, :, 1:], state, name, mixing)
        if representation == "vit-cls":
            c = fuse(c, u[:, :, :1], state, name, mixing)
        if temporal_module == "conv":
            v = convolution(s, state, f"{name}.temporal", norms=norms, training=training)
            s = s + (gate(v, state, f"{name}.temporal.gate", training=training) if temporal_gate else v)
        if temporal_module == "attention":
            s = s + over_time(s, state, f"{name}.temporal.attention", norms=norms)
        stream = s if representation == "gap" else torch.cat([c, s], 2)
        frame = u[:, :, 0]
        if shifted_token == "mean":
            frame = u[:, :, 1:].mean(2)
        if shifted_token == "pooled":
            frame = down(pooled_BTD.unsqueeze(2), state, f"{name}.down", norms=norms)[:, :, 0]
        outside = shifted(frame) + cls_place if cls_shift and shifted_token != "none" else None
        stream = stream + over_space(stream, outside, places, state, f"{name}.attention", norms=norms)
        stream = stream + run_mlp(stream, state, name, norms=norms, training=training)
        c, s = (c, stream) if representation == "gap" else (stream[:, :, :1], stream[:, :, 1:])
    out = s if representation == "gap" else c
    if "final_norm.weight" in state:
        out = batch_norm(out, state, "final_norm", training=training)
    return out.mean(over)


def frame_features(
    video_BTCHW: Tensor,
    tokens: dict[int, Tensor],
    class_BTD: Tensor,
    state: dict[str, Tensor],
    *,
    epsilon: float,
    **options: Any,
) -> Tensor:
    """Eq. 4 [B, T, E]: Proj(Up(GAP(side)) + [CLS]), with the tower's last norm in front of Proj."""
    side = {name.removeprefix("side."): tensor for name, tensor in state.items() if name.startswith("side.")}
    side_BTd = side4video(video_BTCHW, tokens, side, over=(2,), **options)
    rows = []
    for b in range(side_BTd.shape[0]):
        for t in range(side_BTd.shape[1]):
            x = class_BTD[b, t] + torch.einsum("d,de->e", side_BTd[b, t], state["up_dD"])
            centred = x - x.mean()
            normed = centred / torch.sqrt((centred * centred).mean() + epsilon)
            normed = normed * state["projection.norm.weight"] + state["projection.norm.bias"]
            rows.append(torch.einsum("d,de->e", normed, state["projection.weight_DE"]))
            if "projection.bias_E" in state:
                rows[-1] = rows[-1] + state["projection.bias_E"]
    return torch.stack(rows).unflatten(0, side_BTd.shape[:2])

"""CLIP's image transformer stated independently, in float64, frame by frame and head by head.

`state` holds float64 copies of the tower's tensors under the names that OpenAI gave them.
"""

import math

import torch
from torch import Tensor


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return torch.einsum("...i,oi->...o", x, state[f"{name}.weight"]) + state[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def run_attention(query_QD: Tensor, key_MD: Tensor, value_MD: Tensor, heads: int) -> Tensor:
    """Softmax attention head by head; heads lie side by side in the channels."""
    width = query_QD.shape[-1] // heads
    out = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        logits = torch.einsum("qd,md->qm", query_QD[:, part], key_MD[:, part]) / math.sqrt(width)
        out.append(torch.softmax(logits, -1) @ value_MD[:, part])
    return torch.cat(out, -1)


def self_attention(x_PD: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """CLIP's attention over one group of tokens, without its norm."""
    dim = x_PD.shape[-1]
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    query, key, value = (x_PD @ weight[n * dim : (n + 1) * dim].T + bias[n * dim : (n + 1) * dim] for n in range(3))
    return linear(run_attention(query, key, value, heads), state, f"{name}.out_proj")


def embed(frame_CHW: Tensor, state: dict[str, Tensor], added_D: Tensor | float = 0.0) -> Tensor:
    """Tokens [P, D] of one frame; `added_D` comes behind the positions and before the first norm."""
    weight = state["conv1.weight"]
    size = weight.shape[-1]
    tokens = [state["class_embedding"]]
    for row in range(frame_CHW.shape[1] // size):
        for column in range(frame_CHW.shape[2] // size):
            patch = frame_CHW[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
            tokens.append(torch.einsum("chw,dchw->d", patch, weight))
    return layer_norm(torch.stack(tokens) + state["positional_embedding"] + added_D, state, "ln_pre")


def attention(x_PD: Tensor, state: dict[str, Tensor], index: int, heads: int) -> Tensor:
    """The attention branch of a block, norm included."""
    name = f"transformer.resblocks.{index}"
    return self_attention(layer_norm(x_PD, state, f"{name}.ln_1"), state, f"{name}.attn", heads)


def mlp(x_PD: Tensor, state: dict[str, Tensor], index: int, *, quick: bool) -> Tensor:
    """The MLP of a block, without its norm."""
    name = f"transformer.resblocks.{index}.mlp"
    hidden = linear(x_PD, state, f"{name}.c_fc")
    return linear(quick_gelu(hidden) if quick else gelu(hidden), state, f"{name}.c_proj")


def full(video_BTCHW: Tensor, state: dict[str, Tensor], *, depth: int, heads: int, quick: bool) -> Tensor:
    """Features [B, D]: the mean over frames of the normalised [CLS] of the plain tower."""
    out = []
    for clip in video_BTCHW:
        frames = []
        for frame in clip:
            x = embed(frame, state)
            for index in range(depth):
                x = x + attention(x, state, index, heads)
                normed = layer_norm(x, state, f"transformer.resblocks.{index}.ln_2")
                x = x + mlp(normed, state, index, quick=quick)
            frames.append(layer_norm(x[0], state, "ln_post"))
        out.append(sum(frames) / len(frames))
    return torch.stack(out)

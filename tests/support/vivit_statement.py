"""ViViT stated independently, in float64, clip by clip: nothing of the package and of its libraries is used.

`state` holds float64 tensors by name. Kernels of tubelets are [D, 3, frames, p, p].
"""

import math

import torch
from torch import Tensor

import clip_statement as clip


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(variance + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def tubelets(video_TCHW: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Tokens [t, P, D]."""
    kernel, bias = state["patch_embedding.weight"], state["patch_embedding.bias"]
    _, _, length, size, _ = kernel.shape
    steps = []
    for t in range(len(video_TCHW) // length):
        patches = []
        for row in range(video_TCHW.shape[2] // size):
            for column in range(video_TCHW.shape[3] // size):
                part = video_TCHW[
                    t * length : (t + 1) * length, :, row * size : (row + 1) * size, column * size : (column + 1) * size
                ]
                patches.append(torch.einsum("tchw,dcthw->d", part, kernel) + bias)
        steps.append(torch.stack(patches))
    return torch.stack(steps)


def encoder(x_SD: Tensor, state: dict[str, Tensor], name: str, *, layers: int, heads: int) -> Tensor:
    """The class token after the final norm."""
    x = torch.cat([state[f"{name}.class_token_D"][None], x_SD]) + state[f"{name}.positions_SD"]
    for layer in range(layers):
        block = f"{name}.blocks.{layer}"
        query, key, value = clip.linear(norm(x, state, f"{block}.norm1"), state, f"{block}.attn.qkv").chunk(3, -1)
        x = x + clip.linear(clip.run_attention(query, key, value, heads), state, f"{block}.attn.proj")
        hidden = tanh_gelu(clip.linear(norm(x, state, f"{block}.norm2"), state, f"{block}.mlp.fc1"))
        x = x + clip.linear(hidden, state, f"{block}.mlp.fc2")
    return norm(x, state, f"{name}.norm")[0]


def factorised(
    video_BTCHW: Tensor, state: dict[str, Tensor], *, layers: int, temporal_layers: int, heads: int
) -> Tensor:
    """Features [B, D]."""
    features = []
    for video in video_BTCHW:
        steps = [encoder(x, state, "spatial", layers=layers, heads=heads) for x in tubelets(video, state)]
        features.append(encoder(torch.stack(steps), state, "temporal", layers=temporal_layers, heads=heads))
    return torch.stack(features)


def joint(video_BTCHW: Tensor, state: dict[str, Tensor], *, layers: int, heads: int) -> Tensor:
    """Features [B, D] of one encoder over all tokens; `state` has the library's names."""
    renamed = {
        "patch_embedding.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embedding.bias": state["embeddings.patch_embeddings.projection.bias"],
        "all.class_token_D": state["embeddings.cls_token"].flatten(),
        "all.positions_SD": state["embeddings.position_embeddings"].squeeze(0),
    }
    for part in ("weight", "bias"):
        renamed[f"all.norm.{part}"] = state[f"layernorm.{part}"]
        for layer in range(layers):
            ours, theirs = f"all.blocks.{layer}", f"layers.{layer}"
            parts = [state[f"{theirs}.attention.{each}_proj.{part}"] for each in "qkv"]
            renamed[f"{ours}.attn.qkv.{part}"] = torch.cat(parts)
            renamed[f"{ours}.attn.proj.{part}"] = state[f"{theirs}.attention.o_proj.{part}"]
            renamed[f"{ours}.norm1.{part}"] = state[f"{theirs}.layernorm_before.{part}"]
            renamed[f"{ours}.norm2.{part}"] = state[f"{theirs}.layernorm_after.{part}"]
            renamed[f"{ours}.mlp.fc1.{part}"] = state[f"{theirs}.mlp.fc1.{part}"]
            renamed[f"{ours}.mlp.fc2.{part}"] = state[f"{theirs}.mlp.fc2.{part}"]
    return torch.stack(
        [
            encoder(tubelets(video, renamed).flatten(0, 1), renamed, "all", layers=layers, heads=heads)
            for video in video_BTCHW
        ]
    )

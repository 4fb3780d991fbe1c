"""Gated recurrence stated independently, in float64, clip by clip: nothing of the package is used."""

import torch
from torch import Tensor

import clip_statement as clip

HEADS, HEAD_WIDTH = 12, 64


def gated(tokens_NSD: Tensor, state: dict[str, Tensor], *, layers: int, heads: int, frames: int) -> Tensor:
    """Features [B, 768] from the last block's tokens, after the tower's norm; `state` holds tensors by name."""

    def norm(x: Tensor, name: str, epsilon: float) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / (variance + epsilon).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    def attention(asking: Tensor, seen: Tensor, name: str) -> Tensor:
        key, value = clip.linear(seen, state, f"{name}.key_value").chunk(2, -1)
        query = clip.linear(asking, state, f"{name}.query")
        return clip.linear(clip.run_attention(query, key, value, heads), state, f"{name}.leave")

    def mlp(x: Tensor, name: str, epsilon: float) -> Tensor:
        hidden = clip.gelu(clip.linear(norm(x, f"{name}.norm", epsilon), state, f"{name}.widen"))
        return clip.linear(hidden, state, f"{name}.narrow")

    features = []
    for first in range(0, len(tokens_NSD), frames):
        s = torch.zeros_like(tokens_NSD[0])
        for t in range(frames):
            x = norm(tokens_NSD[first + t], "final_norm", 1e-5)
            u = torch.sigmoid(x @ state["core.update_of_frame.weight"].T + s @ state["core.update_of_state.weight"].T)
            r = torch.sigmoid(x @ state["core.reset_of_frame.weight"].T + s @ state["core.reset_of_state.weight"].T)
            read = r * norm(s, "core.state_norm", 1e-6)
            y = x
            for layer in range(layers):
                name = f"core.layers.{layer}"
                y = y + attention(norm(y, f"{name}.cross_norm", 1e-6), read, f"{name}.cross")
                y = y + mlp(y, f"{name}.mlp", 1e-6)
                own = norm(y, f"{name}.own_norm", 1e-6)
                y = y + attention(own, own, f"{name}.own")
            s = (1 - u) * s + u * norm(y, "core.norm", 1e-6)
        last = norm(s, "state_norm", 1e-5)
        key, value = clip.linear(norm(last, "readout.norm", 1e-5), state, "readout.key_value").chunk(2, -1)
        query = state["readout.query_R"][None]
        query = query + clip.linear(clip.run_attention(query, key, value, HEADS), state, "readout.leave")
        features.append((query + mlp(query, "readout.mlp", 1e-5))[0])
    return torch.stack(features)

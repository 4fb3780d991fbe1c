"""Ladder side-tuning stated independently, in float64, with loops and einsum: nothing of the package is used."""

import torch
from torch import Tensor

import clip_statement as clip


def attention(x_SD: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    n = clip.layer_norm(x_SD, state, f"{name}.norm")
    query, key, value = clip.linear(n, state, f"{name}.query_key_value").chunk(3, -1)
    return clip.linear(clip.run_attention(query, key, value, heads), state, f"{name}.leave")


def mlp(x_SD: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    hidden = clip.linear(clip.layer_norm(x_SD, state, f"{name}.norm"), state, f"{name}.enter")
    return clip.linear(clip.gelu(hidden), state, f"{name}.leave")


def lst(
    tokens: dict[int, Tensor],
    state: dict[str, Tensor],
    *,
    taps: tuple[int, ...],
    heads: int,
    frames: int,
    temperature: float = 0.1,
) -> Tensor:
    """Features [B, D]; `tokens` by block, -1 for what enters the first; `state` the network's tensors by name."""
    seen = []
    for number in range(len(tokens[-1])):
        h = clip.linear(tokens[-1][number], state, "enter")
        for rung, tap in enumerate(taps):
            gate = 1 / (1 + torch.exp(-state[f"rungs.{rung}.gate"] / temperature))
            h = gate * h + (1 - gate) * clip.linear(tokens[tap][number], state, f"rungs.{rung}.down")
            h = h + attention(h, state, f"rungs.{rung}.attention", heads)
            h = h + mlp(h, state, f"rungs.{rung}.perceptron")
        seen.append(clip.linear(clip.layer_norm(h[0], state, "final_norm"), state, "up"))
    return torch.stack([torch.stack(seen[n : n + frames]).mean(0) for n in range(0, len(seen), frames)])

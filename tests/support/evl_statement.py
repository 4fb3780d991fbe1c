"""EVL stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3 (Lin et al., 2022, arXiv 2208.03550); where it is silent, what the released code computes.
"""

import math

import torch
from torch import Tensor

from clip_statement import layer_norm, linear


def convolved(x_BTSD: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    weight, bias = state[f"{name}.weight_3D"], state[f"{name}.bias_D"]
    out = []
    for t in range(x_BTSD.shape[1]):
        total = bias + weight[1] * x_BTSD[:, t]
        if t > 0:
            total = total + weight[0] * x_BTSD[:, t - 1]
        if t + 1 < x_BTSD.shape[1]:
            total = total + weight[2] * x_BTSD[:, t + 1]
        out.append(total)
    return torch.stack(out, 1)


def looked_up(query: Tensor, key: Tensor, table_RD: Tensor, grid: int) -> Tensor:
    """Of one frame and one neighbour, queries and keys [h, S, k]; [P, D]."""
    heads, _, channels = query.shape
    found = torch.zeros(grid**2, grid**2, dtype=query.dtype)
    for head in range(heads):
        found = found + torch.softmax(query[head, 1:] @ key[head, 1:].T / math.sqrt(channels), -1) / heads
    rows = []
    for p in range(grid**2):
        offsets = []
        for q in range(grid**2):
            down, right = p // grid - q // grid + grid - 1, p % grid - q % grid + grid - 1
            offsets.append(down * (2 * grid - 1) + right)
        rows.append(torch.einsum("q,qd->d", found[p], table_RD[offsets]))
    return torch.stack(rows)


def timed(x_BTSD: Tensor, query: Tensor, key: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Tokens with a sense of time; queries and keys are [B, T, h, S, k]."""
    batch, frames, tokens, _ = x_BTSD.shape
    grid = math.isqrt(tokens - 1)
    out = x_BTSD
    if f"{name}.convolution.bias_D" in state:
        out = out + convolved(x_BTSD, state, f"{name}.convolution")
    if f"{name}.positions_TD" in state:
        out = out + state[f"{name}.positions_TD"][None, :, None]
    if f"{name}.lookup.before_RD" not in state:
        return out
    added = []
    for b in range(batch):
        for t in range(frames):
            total = torch.zeros(grid**2, x_BTSD.shape[-1], dtype=x_BTSD.dtype)
            if t > 0:
                total = total + looked_up(query[b, t], key[b, t - 1], state[f"{name}.lookup.before_RD"], grid)
            if t + 1 < frames:
                total = total + looked_up(query[b, t], key[b, t + 1], state[f"{name}.lookup.after_RD"], grid)
            added.append(torch.cat([torch.zeros_like(total[:1]), total]))
    return out + torch.stack(added).reshape(batch, frames, tokens, -1)


def evl(
    tokens: dict[int, Tensor],
    attention: dict[int, tuple[Tensor, Tensor]],
    state: dict[str, Tensor],
    *,
    taps: tuple[int, ...],
    frames: int,
    heads: int,
) -> Tensor:
    """Features [B, D] without dropout; `state` holds float64 copies of the network's tensors by name."""
    batch = tokens[taps[0]].shape[0] // frames
    width = len(state["query_D"])
    y = state["query_D"].expand(batch, -1)
    for number, tap in enumerate(taps):
        name = f"stages.{number}"
        split = [x.reshape(batch, frames, *x.shape[1:]) for x in (tokens[tap], *attention.get(tap, (tokens[tap],) * 2))]
        seen = layer_norm(timed(*split, state, name).reshape(batch, -1, width), state, f"{name}.decoder.token_norm")
        asked = linear(layer_norm(y, state, f"{name}.decoder.query_norm"), state, f"{name}.decoder.query")
        key, value = (linear(seen, state, f"{name}.decoder.{part}") for part in ("key", "value"))
        mixed = []
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            logits = torch.einsum("bc,bsc->bs", asked[:, part], key[:, :, part]) / math.sqrt(width // heads)
            mixed.append(torch.einsum("bs,bsc->bc", torch.softmax(logits, -1), value[:, :, part]))
        y = y + linear(torch.cat(mixed, -1), state, f"{name}.decoder.leave")
        hidden = linear(layer_norm(y, state, f"{name}.decoder.perceptron_norm"), state, f"{name}.decoder.widen")
        y = y + linear(hidden / (1 + torch.exp(-1.702 * hidden)), state, f"{name}.decoder.narrow")
    return layer_norm(y, state, "final_norm")

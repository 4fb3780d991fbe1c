"""The attentive probe stated independently, in float64, with loops and einsum: nothing of the package is used."""

import torch
from torch import Tensor

import clip_statement as clip


def attentive(tokens_NSD: Tensor, state: dict[str, Tensor], *, layers: int, heads: int, frames: int) -> Tensor:
    """Features [B, D] from the last block's tokens; `state` holds the network's tensors by name."""
    features = []
    for first in range(0, len(tokens_NSD), frames):
        seen = []
        for t in range(frames):
            normed = clip.layer_norm(tokens_NSD[first + t], state, "token_norm")
            seen.append(normed + state["positions_TD"][t] if "positions_TD" in state else normed)
        seen_MD = torch.cat(seen)
        queries = state["queries_QD"]
        for layer in range(layers):
            name = f"layers.{layer}"
            asked = clip.linear(clip.layer_norm(queries, state, f"{name}.query_norm"), state, f"{name}.query")
            key, value = clip.linear(seen_MD, state, f"{name}.key_value").chunk(2, -1)
            queries = queries + clip.linear(clip.run_attention(asked, key, value, heads), state, f"{name}.leave")
            hidden = clip.linear(clip.layer_norm(queries, state, f"{name}.perceptron_norm"), state, f"{name}.widen")
            queries = queries + clip.linear(clip.gelu(hidden), state, f"{name}.narrow")
        features.append(queries.mean(0))
    return torch.stack(features)

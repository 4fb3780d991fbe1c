"""CLIP's text transformer stated independently, in float64, text by text and word by word.

`state` holds float64 copies of the tower's tensors under the names that OpenAI gave them.
"""

import torch
from torch import Tensor

import clip_statement as clip


def embed(tokens_W: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Tokens [W, D] that enter the first block."""
    rows = [state["token_embedding.weight"][int(token)] for token in tokens_W]
    return torch.stack([row + state["positional_embedding"][place] for place, row in enumerate(rows)])


def attention(x_WD: Tensor, state: dict[str, Tensor], index: int, heads: int) -> Tensor:
    """The attention branch of a block, norm included: each token sees itself and those before it."""
    name, dim = f"transformer.resblocks.{index}", x_WD.shape[-1]
    normed = clip.layer_norm(x_WD, state, f"{name}.ln_1")
    weight, bias = state[f"{name}.attn.in_proj_weight"], state[f"{name}.attn.in_proj_bias"]
    query, key, value = (normed @ weight[n * dim : (n + 1) * dim].T + bias[n * dim : (n + 1) * dim] for n in range(3))
    rows = [clip.run_attention(query[w : w + 1], key[: w + 1], value[: w + 1], heads) for w in range(len(x_WD))]
    return clip.linear(torch.cat(rows), state, f"{name}.attn.out_proj")


def mlp(x_WD: Tensor, state: dict[str, Tensor], index: int, *, quick: bool) -> Tensor:
    """The MLP branch of a block, norm included."""
    normed = clip.layer_norm(x_WD, state, f"transformer.resblocks.{index}.ln_2")
    return clip.mlp(normed, state, index, quick=quick)


def finish(x_WD: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Features [W, E]."""
    return clip.layer_norm(x_WD, state, "ln_final") @ state["text_projection"]


def full(tokens_QW: Tensor, state: dict[str, Tensor], *, depth: int, heads: int, quick: bool) -> Tensor:
    """Features [Q, W, E] of the plain tower."""
    out = []
    for tokens_W in tokens_QW:
        x = embed(tokens_W, state)
        for index in range(depth):
            x = x + attention(x, state, index, heads)
            x = x + mlp(x, state, index, quick=quick)
        out.append(finish(x, state))
    return torch.stack(out)

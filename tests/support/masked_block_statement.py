"""CLIP's temporal block stated independently, in float64, where some tokens are not attended to."""

import torch
from torch import Tensor

import clip_statement as clip
import matching_statement as matching


def block(x_SE: Tensor, state: dict[str, Tensor], name: str, real: list[bool] | None = None) -> Tensor:
    """A block in which each token attends to the real ones alone; to all, where none is real."""
    seen = [place for place in range(len(x_SE)) if real is None or real[place] or not any(real)]
    width = x_SE.shape[-1]
    normed = matching.norm(x_SE, state, f"{name}.attention_norm")
    query, key, value = clip.linear(normed, state, f"{name}.query_key_value").split(width, dim=-1)
    mixed = clip.run_attention(query, key[seen], value[seen], max(1, width // matching.HEAD))
    x_SE = x_SE + clip.linear(mixed, state, f"{name}.leave_attention")
    hidden = clip.quick_gelu(clip.linear(matching.norm(x_SE, state, f"{name}.perceptron_norm"), state, f"{name}.enter"))
    return x_SE + clip.linear(hidden, state, f"{name}.leave")


def unit(x_E: Tensor) -> Tensor:
    """A vector of length one."""
    return x_E / (x_E * x_E).sum().sqrt()


def gathered(rows: list[Tensor], real: list[bool] | None) -> list[Tensor]:
    """The real ones among rows."""
    return [row for place, row in enumerate(rows) if real is None or real[place]]


def blocks(x_SE: Tensor, state: dict[str, Tensor], name: str, layers: int, real: list[bool] | None) -> Tensor:
    """Several blocks, one after another."""
    for index in range(layers):
        x_SE = block(x_SE, state, f"{name}.{index}", real)
    return x_SE


def softmax(scores: list[Tensor]) -> list[Tensor]:
    """Softmax of scalars."""
    return matching.softmax(scores)


def stacked_mean(rows: list[Tensor]) -> Tensor:
    """The mean of rows."""
    return torch.stack(rows).sum(0) / len(rows)

"""Cap4Video stated independently, in float64, video by video.

From the paper's section 3 and the released code; `state` holds float64 tensors by the modules' names.
"""

import torch
from torch import Tensor

import clip_statement as clip
import masked_block_statement as temporal


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


def frames_of_video(
    frames_TE: Tensor, sentences: list[Tensor], state: dict[str, Tensor], *, layers: int, real: list[bool] | None
) -> Tensor:
    """Frame features [T, E] after the sentences and the blocks."""
    seen, heads, name = torch.stack(sentences), max(1, frames_TE.shape[-1] // 64), "frames.attention"
    query = clip.linear(frames_TE, state, f"{name}.query")
    key, value = clip.linear(seen, state, f"{name}.key"), clip.linear(seen, state, f"{name}.value")
    mixed = clip.linear(clip.run_attention(query, key, value, heads), state, f"{name}.leave_attention")
    x = clip.layer_norm(frames_TE + mixed, state, f"{name}.attention_norm")
    hidden = clip.linear(clip.gelu(clip.linear(x, state, f"{name}.enter")), state, f"{name}.leave")
    x = clip.layer_norm(x + hidden, state, f"{name}.perceptron_norm")
    positions = state["frames.positions_TE"][: len(x)]
    return x + temporal.blocks(x + positions, state, "frames.blocks", layers, real)


def sentence_features(sentences: list[Tensor], state: dict[str, Tensor], *, layers: int) -> Tensor:
    """Sentence features [M, E] after post-norm transformer layers."""
    x = torch.stack([row + state["sentences.positions_ME"][place] for place, row in enumerate(sentences)])
    width = x.shape[-1]
    for index in range(layers):
        name = f"sentences.layers.{index}"
        mixed = clip.self_attention(x, state, f"{name}.self_attn", max(1, width // 64))
        x = clip.layer_norm(x + mixed, state, f"{name}.norm1")
        hidden = clip.linear(relu(clip.linear(x, state, f"{name}.linear1")), state, f"{name}.linear2")
        x = clip.layer_norm(x + hidden, state, f"{name}.norm2")
    return x

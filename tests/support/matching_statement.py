"""How alike texts and videos are, stated independently in float64 with plain loops, pair by pair.

From the paper's section 3.4 (Side4Video) and CLIP4Clip's section 3.3 (meanP, seqTransf, tightTransf); where they are
silent, what the authors' code computes. `state` holds float64 tensors by the modules' names.
"""

import math

import torch
from torch import Tensor

from clip_statement import linear, quick_gelu, run_attention

HEAD = 64


def cosine(left_E: Tensor, right_E: Tensor) -> Tensor:
    return (left_E * right_E).sum() / ((left_E * left_E).sum() * (right_E * right_E).sum()).sqrt()


def end_of(tokens_W: Tensor) -> int:
    """The end of a text has the largest number; the first one counts."""
    numbers = tokens_W.tolist()
    return numbers.index(max(numbers))


def mean(words_WE: Tensor, tokens_W: Tensor, frames_TE: Tensor, *, normalizes: bool = True) -> Tensor:
    """meanP: frames of length one, or as they are, their mean, its cosine with the text."""
    total = sum(frame_E / frame_E.pow(2).sum().sqrt() if normalizes else frame_E for frame_E in frames_TE)
    return cosine(total / len(frames_TE), words_WE[end_of(tokens_W)])


def score(tokens_E: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    hidden = linear(tokens_E, state, f"{name}.0")
    return linear(torch.where(hidden > 0, hidden, torch.zeros_like(hidden)), state, f"{name}.2")[0]


def softmax(scores: list[Tensor]) -> list[Tensor]:
    top = max(float(each.detach()) for each in scores)
    exponentials = [torch.exp(each - top) for each in scores]
    return [each / sum(exponentials) for each in exponentials]


def token_wise(
    words_WE: Tensor,
    tokens_W: Tensor,
    frames_TE: Tensor,
    state: dict[str, Tensor],
    *,
    weighted: bool,
    padding: str,
    fillers: int = 0,
) -> Tensor:
    """Each word's best frame and each frame's best word, weighted, the mean of both.

    Behind the frames there are `fillers` more, which only fill up the clip.
    """
    words = [words_WE[place] for place in range(end_of(tokens_W) + 1)]
    of_words = [torch.tensor(1 / len(words))] * len(words)
    of_frames = [torch.tensor(1 / len(frames_TE))] * len(frames_TE)
    if weighted:
        of_words = softmax([score(word, state, "word_scorer") for word in words])
        of_frames = softmax([score(frame, state, "frame_scorer") for frame in frames_TE])
    by_words = by_frames = torch.zeros((), dtype=torch.float64)
    for word, weight in zip(words, of_words, strict=True):
        found = [cosine(word, frame) for frame in frames_TE]
        if padding == "zero" and fillers:
            found.append(torch.zeros((), dtype=torch.float64))
        by_words = by_words + weight * torch.stack(found).max()
    for frame, weight in zip(frames_TE, of_frames, strict=True):
        found = [cosine(word, frame) for word in words]
        if padding == "zero" and len(words) < len(words_WE):
            found.append(torch.zeros((), dtype=torch.float64))
        by_frames = by_frames + weight * torch.stack(found).max()
    return (by_words + by_frames) / 2


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-12) * state[f"{name}.weight"] + state[f"{name}.bias"]


def block(x_SE: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    width = x_SE.shape[-1]
    entered = linear(norm(x_SE, state, f"{name}.attention_norm"), state, f"{name}.query_key_value")
    mixed = run_attention(*(entered[:, part * width : (part + 1) * width] for part in range(3)), max(1, width // HEAD))
    x_SE = x_SE + linear(mixed, state, f"{name}.leave_attention")
    hidden = quick_gelu(linear(norm(x_SE, state, f"{name}.perceptron_norm"), state, f"{name}.enter"))
    return x_SE + linear(hidden, state, f"{name}.leave")


def sequence(frames_TE: Tensor, state: dict[str, Tensor], *, layers: int) -> Tensor:
    """seqTransf: frames with positions through blocks, and the frames as they were added."""
    x = torch.stack([frame + state["positions_TE"][place] for place, frame in enumerate(frames_TE)])
    for index in range(layers):
        x = block(x, state, f"blocks.{index}")
    return x + frames_TE


def tight(
    words_WE: Tensor, tokens_W: Tensor, frames_TE: Tensor, state: dict[str, Tensor], *, layers: int, enlarged: float = 1
) -> Tensor:
    """tightTransf: the text and the frames with positions, dropout (here a factor) on both, blocks, and a score."""
    places = [words_WE[end_of(tokens_W)], *frames_TE]
    x = torch.stack([token + state["positions_SE"][place] for place, token in enumerate(places)]) * enlarged
    for index in range(layers):
        x = block(x, state, f"blocks.{index}")
    pooled = quick_gelu(linear(norm(x[0], state, "norm"), state, "enter"))
    return linear(pooled, state, "leave")[0]


def cross_entropies(logits_QB: Tensor) -> Tensor:
    """The mean over both directions and all texts and videos of the right one's."""
    total = 0.0
    for matrix in (logits_QB.tolist(), logits_QB.t().tolist()):
        for place, row in enumerate(matrix):
            top = max(row)
            total += top + math.log(sum(math.exp(value - top) for value in row)) - row[place]
    return torch.tensor(total / (2 * len(logits_QB)), dtype=torch.float64)


ENDS = (1, 3, 5, 4)
"""The last token of each text; the third has no padding."""


def make_tokens(words: int = 6) -> Tensor:
    """Texts as tokens: begin, words, end (the largest number), zeros."""
    found = torch.zeros(len(ENDS), words, dtype=torch.int64)
    for row, end in enumerate(ENDS):
        found[row, : end + 1] = torch.tensor([900, *range(10 + row, 10 + row + end - 1), 999])
    return found

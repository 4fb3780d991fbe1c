"""TS2-Net stated independently, in float64, frame by frame, token by token.

From the paper's sections 3.2 and 3.3 and the released code, as far as its masks are in the right order.
"""

import math

import torch
from torch import Tensor

import clip_statement as clip
import masked_block_statement as temporal
from matching_statement import end_of


def shifted(frames: list[Tensor]) -> list[Tensor]:
    """Tokens [S, D] of each frame; some places come from the frame before, some from the one after."""
    places = len(frames[0])
    step = max(1, places // 7)
    out = []
    for t, frame in enumerate(frames):
        rows = list(frame)
        for place in range(places):
            if t > 0 and place >= 1 and (place - 1) % step == 0:
                rows[place] = frames[t - 1][place]
            if t + 1 < len(frames) and place >= 4 and (place - 4) % step == 0:
                rows[place] = frames[t + 1][place]
        out.append(torch.stack(rows))
    return out


def tower_tokens(
    clip_TCHW: Tensor, state: dict[str, Tensor], *, depth: int, heads: int, quick: bool, blocks: tuple[int, ...]
) -> list[Tensor]:
    """Projected tokens [S, E] of each frame."""
    frames = [clip.embed(frame, state) for frame in clip_TCHW]
    for index in range(depth):
        name = f"transformer.resblocks.{index}"
        normed = [clip.layer_norm(x, state, f"{name}.ln_1") for x in frames]
        read = shifted(normed) if index in blocks else normed
        frames = [x + clip.self_attention(y, state, f"{name}.attn", heads) for x, y in zip(frames, read, strict=True)]
        frames = [x + clip.mlp(clip.layer_norm(x, state, f"{name}.ln_2"), state, index, quick=quick) for x in frames]
    return [clip.layer_norm(x, state, "ln_post") @ state["proj"] for x in frames]


def scores(tokens_SE: Tensor, state: dict[str, Tensor]) -> Tensor:
    normed = clip.layer_norm(tokens_SE, state, "selection.norm")
    hidden = clip.gelu(normed @ state["selection.enter.weight"].T)
    rows = []
    for place in range(1, len(hidden)):
        mixed = clip.gelu(torch.cat([hidden[place], hidden[0]]) @ state["selection.mix.weight"].T)
        rows.append(torch.tanh((mixed @ state["selection.score.weight"].T)[0]))
    return torch.stack(rows)


def best(scores_P: Tensor, count: int) -> list[int]:
    order = sorted(range(len(scores_P)), key=lambda place: -float(scores_P[place].detach()))
    return sorted(order[:count])


def indicators(scores_P: Tensor, count: int, noise_JP: Tensor | None) -> Tensor:
    """The mean over draws of which places are chosen [K, P], with the authors' gradient."""
    mean = torch.zeros(count, len(scores_P), dtype=torch.float64)
    slope = torch.zeros_like(mean)
    if noise_JP is None:
        for k, place in enumerate(best(scores_P, count)):
            mean[k, place] = 1
        return mean
    for noise_P in noise_JP:
        for k, place in enumerate(best(scores_P + 0.05 * noise_P, count)):
            mean[k, place] += 1 / len(noise_JP)
            slope[k, place] += float(noise_P[place]) / (0.05 * len(noise_JP))
    # A value of `mean`, whose derivative by the score of a place is `slope`.
    return mean + slope * (scores_P - scores_P.detach())


def frames_of_clip(
    clip_TCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    patches: int,
    layers: int,
    noise: Tensor | None = None,
    real: list[bool] | None = None,
    **sizes,
) -> Tensor:
    """Frame features [T, E]; `noise` [J, T, P] are the draws of each frame."""
    rows: list[Tensor] = []
    for t, tokens_SE in enumerate(tower_tokens(clip_TCHW, tower, **sizes)):
        chosen = indicators(scores(tokens_SE, state), patches, None if noise is None else noise[:, t])
        rows += [tokens_SE[0], *(chosen @ tokens_SE[1:])]
    entered = torch.stack(rows)
    positions = state["positions_TE"][: len(rows)]
    flags = None if real is None else [real[place // (1 + patches)] for place in range(len(rows))]
    out = entered + temporal.blocks(entered + positions, state, "blocks", layers, flags)
    return out[:: 1 + patches]


def similarity(words_WE: Tensor, tokens_W: Tensor, frames_TE: Tensor, real: list[bool] | None = None) -> Tensor:
    """Cosines of the text with the frames, weighted by a softmax of themselves."""
    text = temporal.unit(words_WE[end_of(tokens_W)])
    cosines = temporal.gathered([(temporal.unit(frame) * text).sum() for frame in frames_TE], real)
    length = math.inf if not cosines else torch.stack([each * each for each in cosines]).sum().sqrt()
    weights = temporal.softmax([4 * each / length for each in cosines])
    return sum(weight * each for weight, each in zip(weights, cosines, strict=True))

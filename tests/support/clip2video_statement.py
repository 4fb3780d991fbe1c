"""CLIP2Video's similarity stated independently, in float64, pair by pair, frame by frame.

From the paper's section 3 and the released code; `state` holds float64 tensors by the modules' names.
"""

import torch
from torch import Tensor

import masked_block_statement as temporal
from matching_statement import end_of


def with_differences(
    frames: list[Tensor], state: dict[str, Tensor], real: list[bool] | None
) -> tuple[Tensor, list[bool] | None]:
    """Frames and the differences between them, in turn, and which of these are real."""
    p, y = state["difference.positions_TE"], state["difference.types_2E"]
    deltas: list[Tensor] = []
    if len(frames) > 1:
        entered = torch.stack([frames[i + 1] - frames[i] + p[i + 1] for i in range(len(frames) - 1)])
        mixed = temporal.block(entered, state, "difference.block", None if real is None else real[1:])
        for row in mixed:
            normed = (row - row.mean()) / ((row - row.mean()).pow(2).mean() + 1e-5).sqrt()
            normed = normed * state["difference.norm.weight"] + state["difference.norm.bias"]
            deltas.append(2 / (1 + torch.exp(-normed)) - 1)
    tokens: list[Tensor] = []
    flags: list[bool] = []
    for i, frame in enumerate(frames):
        tokens.append(frame + p[i] + y[1])
        flags.append(real is None or real[i])
        if i < len(deltas):
            tokens.append(deltas[i] + p[i] + y[0])
            flags.append(real is None or real[i])
    return torch.stack(tokens), None if real is None else flags


def mixed(frames: list[Tensor], state: dict[str, Tensor], name: str, layers: int, real: list[bool] | None):
    tokens, flags = with_differences(frames, state, real)
    out = temporal.blocks(tokens, state, f"{name}.blocks", layers, flags)
    return [out[2 * i] + frame for i, frame in enumerate(frames)]


def aligned(tokens: list[Tensor], state: dict[str, Tensor]) -> Tensor:
    """The mean of the unit residuals to each centre, of length one."""
    c, e = state["alignment.centres_KE"], state["alignment.residual_centres_KE"]
    shares = [temporal.softmax([(token * centre).sum() for centre in c]) for token in tokens]
    parts = []
    for k in range(len(c)):
        parts.append(temporal.unit(sum(share[k] * (token - e[k]) for share, token in zip(shares, tokens, strict=True))))
    return temporal.unit(temporal.stacked_mean(parts))


def similarities(
    words_WE: Tensor,
    tokens_W: Tensor,
    frames_TE: Tensor,
    state: dict[str, Tensor],
    *,
    layers: int,
    real: list[bool] | None = None,
) -> tuple[Tensor, Tensor]:
    """The global similarity of a text and a video, and that of their alignments."""
    frames, end = list(frames_TE), end_of(tokens_W)
    over_all = mixed(frames, state, "over_all", layers, real)
    whole = temporal.unit(temporal.stacked_mean(temporal.gathered([temporal.unit(row) for row in over_all], real)))
    half_real = None if real is None else real[::2]
    over_half = mixed(frames[::2], state, "over_half", 1, half_real)
    members = temporal.gathered(frames, real) + temporal.gathered(over_half, half_real)
    by_tokens = (aligned(list(words_WE[1 : end + 1]), state) * aligned(members, state)).sum()
    return (temporal.unit(words_WE[end]) * whole).sum(), by_tokens

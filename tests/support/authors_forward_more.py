"""What further models of authors compute, in float64 on their own names and shapes, from the methods' definitions.

As `authors_forward`: nothing of the package is used, and none of the authors' code.

Legend: B clips, T frames, C classes, W tokens, E channels of the space shared with texts.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from authors_forward import State, clip_block, depth, encode_texts, norm, normalised, tower


def frames_of(video: Tensor, state: State, visual: str) -> Tensor:
    """Projected class tokens [B, T, E]."""
    last = tower(normalised(video), state, visual)[-1][:, 0].unflatten(0, video.shape[:2])
    return norm(last, state, f"{visual}ln_post") @ state[f"{visual}proj"]


def over_frames(frames: Tensor, positions: Tensor, state: State, blocks: str) -> Tensor:
    """f + Blocks(f + positions)."""
    x = frames + positions[: frames.shape[1]]
    for index in range(depth(state, blocks)):
        x = clip_block(x, state, f"{blocks}{index}", eps=1e-12)
    return frames + x


def mixed_frames(video: Tensor, state: State, fusion: str) -> Tensor:
    positions = state[f"{fusion}frame_position_embeddings.weight"]
    return over_frames(frames_of(video, state, "visual."), positions, state, f"{fusion}transformer.resblocks.")


def ends(words_CWE: Tensor, tokens_CW: Tensor) -> Tensor:
    return words_CWE[torch.arange(len(tokens_CW)), tokens_CW.argmax(-1)]


def text4vis(video: Tensor, state: State, tokens_CW: Tensor, clip: State) -> Tensor:
    """`clip` holds the text tower, which the checkpoint does not have."""
    feature = F.normalize(mixed_frames(video, state, "fusion_model.").mean(1), dim=-1)
    texts = F.normalize(ends(encode_texts(tokens_CW, clip, ""), tokens_CW), dim=-1)
    return state["logit_scale"].exp() * feature @ texts.t()


def bike(video: Tensor, state: State, tokens_CW: Tensor) -> Tensor:
    """Without the scale: it is of training alone."""
    frames = F.normalize(mixed_frames(video, state, "fusion_model_state_dict."), dim=-1)
    words = encode_texts(tokens_CW, state, "")
    texts = F.normalize(ends(words, tokens_CW), dim=-1)
    words = F.normalize(words, dim=-1)
    rows = []
    for clip_TE in frames:
        weights = ((words @ clip_TE.t()) / 0.01).softmax(-1).mean(1)
        rows.append(((weights @ clip_TE) * texts).sum(-1))
    return torch.stack(rows)

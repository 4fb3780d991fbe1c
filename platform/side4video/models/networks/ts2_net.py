"""The video network of TS2-Net (Liu et al., 2022, arXiv 2207.07852): shifted tokens, and the most telling patches.

Legend: B clips, T frames, N = B·T, P patches of a frame, S tokens (of a frame: P + 1, class token first), D tower
width, E channels of the shared space, J draws of noise, K selected patches, R rows of scores.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.clip4clip import TrainedFrames, blocks_from, positions_from
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.text_tower import TextTower

FOLDS = 7
"""A frame's tokens over the distance between two shifted ones, in the authors' code."""
FROM_BEFORE, FROM_AFTER = 1, 4
"""The first token that comes from the frame before, and from the one after."""
DRAWS = 500
"""Draws of noise of the differentiable selection."""
SIGMA = 0.05
"""Standard deviation of the noise."""
CHUNK_NUMBERS = 1 << 22
"""Maximum number of noisy scores in memory."""


def shift_tokens(tokens_BTSD: Tensor) -> Tensor:
    """Each frame with some tokens of its neighbours: whole tokens, at regular places, the class token not among them.

    The first frame has no frame before it and the last none after it: there they keep their own.
    """
    step = max(1, tokens_BTSD.shape[2] // FOLDS)
    shifted_BTSD = tokens_BTSD.clone()
    shifted_BTSD[:, 1:, FROM_BEFORE::step] = tokens_BTSD[:, :-1, FROM_BEFORE::step]
    shifted_BTSD[:, :-1, FROM_AFTER::step] = tokens_BTSD[:, 1:, FROM_AFTER::step]
    return shifted_BTSD


def best_places(scores_RP: Tensor, count: int) -> Tensor:
    """Indicators [R, K, P] of the `count` best scores, in the order of their places."""
    places_RK = scores_RP.topk(count, dim=-1).indices.sort(dim=-1).values
    return F.one_hot(places_RK, scores_RP.shape[-1]).to(scores_RP.dtype)


class _NoisyTopK(torch.autograd.Function):
    """The mean of `best_places` over draws of noise (Berthet et al., 2020, arXiv 2002.08676).

    The gradient of the score of a place reads the indicators of that place alone, as in the authors' code. What
    backward needs of the draws is their mean product of indicator and noise, [R, K, P].
    """

    @staticmethod
    def forward(ctx: Any, scores_RP: Tensor, count: int, noise_JRP: Tensor | None) -> Tensor:
        rows, places = scores_RP.shape
        mean_RKP = scores_RP.new_zeros(rows, count, places)
        slope_RKP = torch.zeros_like(mean_RKP)
        draws = DRAWS if noise_JRP is None else len(noise_JRP)
        chunk = max(1, CHUNK_NUMBERS // (rows * places * count))
        for first in range(0, draws, chunk):
            size = min(chunk, draws - first)
            drawn = torch.randn(size, rows, places, dtype=scores_RP.dtype, device=scores_RP.device)
            part_JRP = drawn if noise_JRP is None else noise_JRP[first : first + size]
            chosen_JRKP = best_places((scores_RP + SIGMA * part_JRP).flatten(0, 1), count).unflatten(0, (size, rows))
            mean_RKP += chosen_JRKP.sum(dim=0)
            slope_RKP += torch.einsum("jrkp,jrp->rkp", chosen_JRKP, part_JRP)
        ctx.save_for_backward(slope_RKP / (draws * SIGMA))
        return mean_RKP / draws

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slope_RKP,) = ctx.saved_tensors
        return (gradients[0] * slope_RKP).sum(dim=1), None, None


def noisy_best_places(scores_RP: Tensor, count: int, noise_JRP: Tensor | None = None) -> Tensor:
    """Differentiable indicators [R, K, P] of the best scores; `noise_JRP` replaces the drawn noise."""
    return _NoisyTopK.apply(scores_RP, count, noise_JRP)


class PatchSelection(nn.Module):
    """Keeps the class token of a frame, and `count` weighted means of patches that score best."""

    def __init__(self, width: int, *, count: int, noise_in_evaluation: bool) -> None:
        super().__init__()
        self.count, self.noise_in_evaluation = count, noise_in_evaluation
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width // 2, bias=False)
        self.mix = nn.Linear(2 * (width // 2), width // 2, bias=False)
        self.score = nn.Linear(width // 2, 1, bias=False)

    def scores(self, tokens_NSE: Tensor) -> Tensor:
        """Scores [N, P] of the patches, from -1 to 1."""
        hidden_NSE = F.gelu(self.enter(self.norm(tokens_NSE)))
        patches_NPE, class_N1E = hidden_NSE[:, 1:], hidden_NSE[:, :1]
        both_NPE = torch.cat([patches_NPE, class_N1E.expand_as(patches_NPE)], dim=-1)
        return torch.tanh(self.score(F.gelu(self.mix(both_NPE)))).squeeze(-1)

    def forward(self, tokens_NSE: Tensor) -> Tensor:
        """Class token and selected patches [N, 1 + K, E]."""
        scores_NP = self.scores(tokens_NSE)
        is_noisy = self.training or self.noise_in_evaluation
        chosen_NKP = (noisy_best_places if is_noisy else best_places)(scores_NP, self.count)
        return torch.cat([tokens_NSE[:, :1], chosen_NKP @ tokens_NSE[:, 1:]], dim=1)


class TS2Net(nn.Module):
    """The image tower, trained, with shifted tokens in late blocks; selected tokens of all frames pass blocks together.

    The tower's embeddings are not trained, as in CLIP4Clip.
    """

    def __init__(
        self,
        tower: FrozenTower,
        text: TextTower,
        *,
        shifted_blocks: tuple[int, ...],
        patches: int,
        layers: int,
        frames: int,
        noise_in_evaluation: bool,
    ) -> None:
        """Take the tower over; blocks and positions start as the text tower's.

        `shifted_blocks` are those whose attention reads shifted tokens, `patches` the selected ones of a frame.
        """
        super().__init__()
        self.tower = TrainedFrames(tower)
        self.depth, self.shifted_blocks = tower.shape.depth, frozenset(shifted_blocks)
        self.selection = PatchSelection(tower.shape.output_dim, count=patches, noise_in_evaluation=noise_in_evaluation)
        self.positions_TE = positions_from(text, at_least=frames * (1 + patches))
        self.blocks = blocks_from(text, layers=layers)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        batch, frames = features.video_BTCHW.shape[:2]
        tokens_NSE = self._projected_tokens(features)
        chosen_BSE = self.selection(tokens_NSE).unflatten(0, (batch, frames)).flatten(1, 2)
        kept = chosen_BSE.shape[1] // frames
        mask_BT = features.frame_mask_BT
        mask_BS = None if mask_BT is None else mask_BT.repeat_interleave(kept, dim=1)
        mixed_BSE = chosen_BSE + self.positions_TE[: chosen_BSE.shape[1]]
        for block in self.blocks:
            mixed_BSE = block(mixed_BSE, mask_BS)
        return (chosen_BSE + mixed_BSE)[:, ::kept]

    def _projected_tokens(self, features: FrozenFeatures) -> Tensor:
        """All tokens of the last block [N, S, E], normalised and projected, fp32."""
        trunk = self.tower.trunk
        video_BTCHW = features.normalise(features.video_BTCHW)
        tokens_NSD = trunk.embed(video_BTCHW.flatten(0, 1))
        for index in range(self.depth):
            if index in self.shifted_blocks:
                normed_BTSD = trunk.attention_norm(index, tokens_NSD).unflatten(0, video_BTCHW.shape[:2])
                tokens_NSD = tokens_NSD + trunk.run_attention(index, shift_tokens(normed_BTSD).flatten(0, 1))
            else:
                tokens_NSD = tokens_NSD + trunk.attention_branch(index, tokens_NSD)
            tokens_NSD = tokens_NSD + trunk.mlp_branch(index, tokens_NSD)
        last = trunk.last_layers()
        return trunk.project(last.norm(tokens_NSD)).float()

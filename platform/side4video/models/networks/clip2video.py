"""The temporal modules of CLIP2Video (Fang et al., 2021, arXiv 2106.11097) on CLIP's frame features.

Legend: B clips, T frames, S = 2T - 1 tokens (frames, and the difference between each two), N tokens of a set, K
centres, E channels of the shared space.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.clip4clip import Block, blocks_from, positions_from
from side4video.models.towers.text_tower import TextTower

CENTRE_STD = 0.125
"""Standard deviation of the initial centres, in the authors' code."""


class TemporalDifference(nn.Module):
    """The authors' temporal difference block: between two frames it puts how they differ.

    A difference passes attention over all differences, and becomes a number from -1 to 1. Frames and differences have
    learned positions, and a learned vector each for what they are.
    """

    def __init__(self, text: TextTower, *, frames: int) -> None:
        """The positions and the block start as the text tower's."""
        super().__init__()
        self.positions_TE = positions_from(text, at_least=frames)
        self.types_2E = nn.Parameter(self.positions_TE.detach()[:2].clone())
        self.block = blocks_from(text, layers=1)[0]
        self.norm = nn.LayerNorm(text.output_dim)

    def forward(self, frames_BTE: Tensor, mask_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens [B, S, E], frames at the even places, and their mask [B, S]."""
        frames = frames_BTE.shape[1]
        positions_TE = self.positions_TE[:frames]
        if frames == 1:
            return frames_BTE + positions_TE + self.types_2E[1], mask_BT
        differences_BTE = frames_BTE[:, 1:] - frames_BTE[:, :-1] + positions_TE[1:]
        differences_BTE = self.block(differences_BTE, None if mask_BT is None else mask_BT[:, 1:])
        differences_BTE = 2 * torch.sigmoid(self.norm(differences_BTE)) - 1
        own_BTE = frames_BTE + positions_TE + self.types_2E[1]
        between_BTE = differences_BTE + positions_TE[:-1] + self.types_2E[0]
        pairs_BSE = torch.stack([own_BTE[:, :-1], between_BTE], dim=2).flatten(1, 2)
        tokens_BSE = torch.cat([pairs_BSE, own_BTE[:, -1:]], dim=1)
        return tokens_BSE, None if mask_BT is None else mask_BT.repeat_interleave(2, dim=1)[:, :-1]


class TemporalFrames(nn.Module):
    """Blocks over frames and differences; the frames' tokens are added to the frames."""

    def __init__(self, text: TextTower, *, layers: int) -> None:
        super().__init__()
        self.blocks = blocks_from(text, layers=layers)

    def forward(self, frames_BTE: Tensor, tokens_BSE: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Frame features [B, T, E]."""
        block: Block
        for block in self.blocks:  # type: ignore[assignment] a list of blocks
            tokens_BSE = block(tokens_BSE, mask_BS)
        return tokens_BSE[:, ::2] + frames_BTE


class TokenAlignment(nn.Module):
    """One vector of a set of tokens: residuals to learned centres, by the tokens' shares in each centre.

    Words and frames use the same centres (the authors' temporal alignment block).
    """

    def __init__(self, width: int, *, centres: int) -> None:
        super().__init__()
        self.centres_KE = nn.Parameter(CENTRE_STD * torch.randn(centres, width))
        self.residual_centres_KE = nn.Parameter(CENTRE_STD * torch.randn(centres, width))

    def forward(self, tokens_BNE: Tensor, mask_BN: Tensor | None) -> Tensor:
        """Vectors [B, E] of length one."""
        shares_BNK = (tokens_BNE @ self.centres_KE.t()).softmax(dim=-1)
        if mask_BN is not None:
            shares_BNK = shares_BNK * mask_BN.unsqueeze(-1)
        sums_BKE = torch.einsum("bnk,bne->bke", shares_BNK, tokens_BNE)
        sums_BKE = sums_BKE - shares_BNK.sum(dim=1).unsqueeze(-1) * self.residual_centres_KE
        return F.normalize(F.normalize(sums_BKE, dim=-1).mean(dim=1), dim=-1)

"""CLIP2Video's similarity (Fang et al., 2021, arXiv 2106.11097): a global one, and one of aligned words and frames.

Legend: B videos, T frames, Q texts, W tokens of a text, S tokens of frames and differences, E channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.clip2video import TemporalDifference, TemporalFrames, TokenAlignment
from side4video.models.towers.text_tower import TextTower
from side4video.tasks.retrieval.matching import Embeddings, masked_mean, text_features
from side4video.tasks.retrieval.summed import weighted_sum


class TemporalAlignmentMatching(nn.Module):
    """Half the cosine of text and video, and half that of their alignments to the same learned centres.

    Both read the frames together with the differences between them. The second reads every second frame, and all words
    but the first token.
    """

    is_scaled = True
    shares = (0.5, 0.5)

    def __init__(self, text: TextTower, *, layers: int, centres: int, frames: int) -> None:
        """Blocks and positions start as the text tower's. `frames` are those of a clip."""
        super().__init__()
        self.tokenizer = text.tokenizer
        self.difference = TemporalDifference(text, frames=frames)
        self.over_all = TemporalFrames(text, layers=layers)
        self.over_half = TemporalFrames(text, layers=1)
        self.alignment = TokenAlignment(text.output_dim, centres=centres)

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """Normalised vectors [B, E] of both similarities."""
        frames_BTE = frames_BTE.float()
        mixed_BTE = self._mix(self.over_all, frames_BTE, mask_BT)
        global_BE = F.normalize(masked_mean(F.normalize(mixed_BTE, dim=-1), mask_BT), dim=-1)
        half_BTE, half_mask_BT = frames_BTE[:, ::2], None if mask_BT is None else mask_BT[:, ::2]
        set_BNE = torch.cat([frames_BTE, self._mix(self.over_half, half_BTE, half_mask_BT)], dim=1)
        mask_BN = None if mask_BT is None or half_mask_BT is None else torch.cat([mask_BT, half_mask_BT], dim=1)
        return global_BE, self.alignment(set_BNE, mask_BN)

    def _mix(self, blocks: nn.Module, frames_BTE: Tensor, mask_BT: Tensor | None) -> Tensor:
        tokens_BSE, mask_BS = self.difference(frames_BTE, mask_BT)
        return blocks(frames_BTE, tokens_BSE, mask_BS)

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """Normalised vectors [Q, E] of both similarities."""
        words_QWE = words_QWE.float()
        positions_W = torch.arange(tokens_QW.shape[1], device=tokens_QW.device)
        is_word_QW = positions_W <= self.tokenizer.ends(tokens_QW)[:, None]
        text_QE = F.normalize(text_features(words_QWE, tokens_QW, self.tokenizer), dim=-1)
        return text_QE, self.alignment(words_QWE[:, 1:], is_word_QW[:, 1:])

    def compare_each(self, texts: Embeddings, videos: Embeddings) -> tuple[Tensor, ...]:
        """Cosines [Q, B] of both similarities."""
        return tuple(text.float() @ video.float().t() for text, video in zip(texts, videos, strict=True))

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """The sum of both [Q, B]."""
        return weighted_sum(self.shares, self.compare_each(texts, videos))

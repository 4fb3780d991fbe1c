"""Similarities of texts and videos.

A matching computes embeddings of videos from frame features, embeddings of texts from word features, and similarities
from both. Embeddings are a few tensors whose first axis counts texts or videos, so they can be gathered from workers,
stored, and compared block by block.

Legend: B videos, T frames, Q texts, W tokens of a text, E channels.
"""

from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.clip4clip import EPSILON, blocks_from, positions_from
from side4video.models.towers.text_tower import TextTower
from side4video.models.towers.tokenizer import TextTokenizer

Embeddings = tuple[Tensor, ...]
"""Embeddings of some videos or texts: tensors whose first axis counts them."""
MAX_COSINES = 1 << 24
"""Maximum number of cosines of words with frames in memory, outside of training."""


class Matching(Protocol):
    """A similarity of texts and videos."""

    is_scaled: bool
    """Whether the similarities are cosines, which are multiplied by CLIP's scale."""

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """Embeddings of videos. Where `mask_BT` is False, a frame only fills up a short video."""
        ...

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """Embeddings of texts."""
        ...

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """Similarities [Q, B] of all pairs, fp32."""
        ...


def text_features(words_QWE: Tensor, tokens_QW: Tensor, tokenizer: TextTokenizer) -> Tensor:
    """The feature [Q, E] of each text, at the position where the tokenizer's tower is read."""
    rows = torch.arange(len(words_QWE), device=words_QWE.device)
    return words_QWE[rows, tokenizer.feature_positions(tokens_QW)]


def masked_mean(frames_BTE: Tensor, mask_BT: Tensor | None) -> Tensor:
    """The mean [B, E] of the frames, without those that only fill up a short video."""
    if mask_BT is None:
        return frames_BTE.mean(dim=1)
    weights_BT = mask_BT.to(frames_BTE.dtype)
    weights_BT = weights_BT / weights_BT.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("bte,bt->be", frames_BTE, weights_BT)


class MeanMatching(nn.Module):
    """The cosine of the text and the mean of the frames, which are normalised first (CLIP4Clip's `meanP`) or not."""

    is_scaled = True

    def __init__(self, tokenizer: TextTokenizer, *, normalizes_frames: bool = True) -> None:
        super().__init__()
        self.tokenizer, self.normalizes_frames = tokenizer, normalizes_frames

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """The normalised mean frame [B, E]."""
        frames_BTE = F.normalize(frames_BTE.float(), dim=-1) if self.normalizes_frames else frames_BTE.float()
        return (F.normalize(masked_mean(frames_BTE, mask_BT), dim=-1),)

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """The normalised feature of the text [Q, E]."""
        return (F.normalize(text_features(words_QWE, tokens_QW, self.tokenizer).float(), dim=-1),)

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """Cosines [Q, B]."""
        return texts[0].float() @ videos[0].float().t()


class TokenMatching(nn.Module):
    """Token-wise matching (section 3.4, after Wang et al., 2022).

    The similarity of each word with its best frame, and of each frame with its best word, averaged over words, frames
    and both directions. Words and frames have equal weights or learned ones.
    """

    is_scaled = True

    def __init__(
        self, width: int, tokenizer: TextTokenizer, *, weighted: bool, padding: str, max_cosine: int = MAX_COSINES
    ) -> None:
        """Create the layers that compute weights: two linear layers each, as in the authors' code.

        `padding` is `ignored`, or `zero`: tokens after a text's end have similarity 0 with every frame, and frames that
        only fill up a short video with every word.
        """
        super().__init__()
        self.tokenizer, self.padding, self.max_cosine = tokenizer, padding, max_cosine
        self.word_scorer = _scorer(width) if weighted else None
        self.frame_scorer = _scorer(width) if weighted else None

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """Normalised frames [B, T, E], their weights [B, T], and the mask, if there is one."""
        frames_BTE = frames_BTE.float()
        normed_BTE = F.normalize(frames_BTE, dim=-1)
        if self.frame_scorer is None:
            weights_BT = frames_BTE.new_full(frames_BTE.shape[:2], 1 / frames_BTE.shape[1])
            if mask_BT is not None:
                weights_BT = mask_BT / mask_BT.sum(dim=-1, keepdim=True).clamp(min=1)
        else:
            scores_BT = self.frame_scorer(frames_BTE).squeeze(-1)
            if mask_BT is not None:
                scores_BT = scores_BT.masked_fill(~mask_BT, float("-inf"))
            weights_BT = scores_BT.softmax(dim=-1)
        if mask_BT is None:
            return normed_BTE, weights_BT
        return normed_BTE * mask_BT.unsqueeze(-1), weights_BT, mask_BT

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """Normalised words [Q, W, E], their weights [Q, W], and a mask of the tokens up to the text's end."""
        words_QWE = words_QWE.float()
        positions_W = torch.arange(tokens_QW.shape[1], device=tokens_QW.device)
        is_word_QW = positions_W <= self.tokenizer.ends(tokens_QW)[:, None]
        if self.word_scorer is None:
            weights_QW = is_word_QW / is_word_QW.sum(dim=-1, keepdim=True)
        else:
            scores_QW = self.word_scorer(words_QWE).squeeze(-1)
            weights_QW = scores_QW.masked_fill(~is_word_QW, float("-inf")).softmax(dim=-1)
        return F.normalize(words_QWE, dim=-1) * is_word_QW.unsqueeze(-1), weights_QW, is_word_QW

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """Half of each direction's weighted sum of best cosines [Q, B]."""
        words_QWE, weights_QW, is_word_QW = texts[0].float(), texts[1].float(), texts[2].bool()
        frames_BTE, weights_BT = videos[0].float(), videos[1].float()
        is_filler_BT = ~videos[2].bool() if self.padding == "ignored" and len(videos) > 2 else None
        side = (frames_BTE, weights_BT, is_filler_BT)
        if torch.is_grad_enabled():
            return self._compare(words_QWE, weights_QW, is_word_QW, *side)
        cosines_of_a_text = words_QWE.shape[1] * frames_BTE.shape[0] * frames_BTE.shape[1]
        chunk = max(1, self.max_cosine // cosines_of_a_text)
        parts = []
        for first in range(0, len(words_QWE), chunk):
            rows = slice(first, first + chunk)
            part = (words_QWE[rows], weights_QW[rows], is_word_QW[rows])
            parts.append(self._compare(*part, *side))
        return torch.cat(parts)

    def _compare(
        self,
        words_QWE: Tensor,
        weights_QW: Tensor,
        is_word_QW: Tensor,
        frames_BTE: Tensor,
        weights_BT: Tensor,
        is_filler_BT: Tensor | None,
    ) -> Tensor:
        flat = words_QWE.flatten(0, 1) @ frames_BTE.flatten(0, 1).t()
        cosines_QWBT = rearrange(flat, "(Q W) (B T) -> Q W B T", Q=len(words_QWE), B=len(frames_BTE))
        of_real_QWBT = cosines_QWBT if is_filler_BT is None else cosines_QWBT.masked_fill(is_filler_BT, float("-inf"))
        by_words_QB = torch.einsum("qwb,qw->qb", of_real_QWBT.amax(dim=3), weights_QW)
        if self.padding == "ignored":
            is_padding = ~is_word_QW[:, :, None, None]
            if torch.is_grad_enabled():
                cosines_QWBT = cosines_QWBT.masked_fill(is_padding, float("-inf"))
            else:
                cosines_QWBT.masked_fill_(is_padding, float("-inf"))
        by_frames_QB = torch.einsum("qbt,bt->qb", cosines_QWBT.amax(dim=1), weights_BT)
        return (by_words_QB + by_frames_QB) / 2


class TightMatching(nn.Module):
    """Blocks over a text's feature and the video's frames together (CLIP4Clip's `tightTransf`).

    The output at the text's position is scored. Every pair passes the blocks, so a comparison is expensive. Initial
    values of blocks and positions are the text tower's, those of the scoring layers the authors'.
    """

    is_scaled = False

    def __init__(self, text: TextTower, *, layers: int, frames: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.tokenizer, width = text.tokenizer, text.output_dim
        self.positions_SE = positions_from(text, at_least=1 + frames)
        self.dropout = nn.Dropout(dropout)
        self.blocks = blocks_from(text, layers=layers)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.enter, self.leave = _small(nn.Linear(width, width)), _small(nn.Linear(width, 1))

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """The frames [B, T, E], and the mask, if there is one."""
        return (frames_BTE.float(),) if mask_BT is None else (frames_BTE.float(), mask_BT)

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """The text's feature [Q, E]."""
        return (text_features(words_QWE, tokens_QW, self.tokenizer).float(),)

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """Scores [Q, B], which are logits."""
        frames_BTE, *masks = (each.float() for each in videos)
        # The text's own place is real.
        mask_BS = F.pad(masks[0].bool(), (1, 0), value=True) if masks else None
        rows = [self._score(text_E, frames_BTE, mask_BS) for text_E in texts[0].float()]
        return torch.stack(rows)

    def _score(self, text_E: Tensor, frames_BTE: Tensor, mask_BS: Tensor | None) -> Tensor:
        tokens_BSE = torch.cat([text_E.expand(len(frames_BTE), 1, -1), frames_BTE], dim=1)
        tokens_BSE = self.dropout(tokens_BSE + self.positions_SE[: tokens_BSE.shape[1]])
        for block in self.blocks:
            tokens_BSE = block(tokens_BSE, mask_BS)
        hidden_BE = self.enter(self.norm(tokens_BSE[:, 0]))
        return self.leave(hidden_BE * torch.sigmoid(1.702 * hidden_BE)).squeeze(-1)


def _scorer(width: int) -> nn.Sequential:
    return nn.Sequential(_small(nn.Linear(width, width)), nn.ReLU(), _small(nn.Linear(width, 1)))


def _small(layer: nn.Linear) -> nn.Linear:
    """The authors' initial values of new layers: N(0, 0.02), biases zero."""
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer

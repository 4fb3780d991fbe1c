"""TS2-Net's similarity (Liu et al., 2022, arXiv 2207.07852): frames count by how similar they are to the text.

Legend: B videos, T frames, Q texts, W tokens of a text, E channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.matching import Embeddings, text_features

SHARPNESS = 4.0
"""Factor of the cosines, over the length of their vector, inside the softmax (the authors' code)."""


class QueryWeightedMatching(nn.Module):
    """Cosines of the text with each frame, weighted by a softmax over frames of these cosines."""

    is_scaled = True

    def __init__(self, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """Normalised frames [B, T, E], and a mask [B, T] of the video's own frames."""
        mask_BT = frames_BTE.new_ones(frames_BTE.shape[:2]).bool() if mask_BT is None else mask_BT
        return F.normalize(frames_BTE.float(), dim=-1), mask_BT

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """The normalised feature of the text [Q, E]."""
        return (F.normalize(text_features(words_QWE, tokens_QW, self.tokenizer).float(), dim=-1),)

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """Weighted cosines [Q, B]."""
        is_filler_BT = ~videos[1].bool()
        cosines_QBT = torch.einsum("qe,bte->qbt", texts[0].float(), videos[0].float())
        own_QBT = cosines_QBT.masked_fill(is_filler_BT, 0.0)
        length_QB1 = torch.linalg.vector_norm(own_QBT, dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        weights_QBT = (SHARPNESS * own_QBT / length_QB1).masked_fill(is_filler_BT, float("-inf")).softmax(dim=-1)
        return (weights_QBT * cosines_QBT).sum(dim=-1)

"""The video networks of Cap4Video (Wu et al., 2023, arXiv 2301.00184): frames beside sentences about the video.

Legend: B clips, T frames, M sentences of a video, W tokens of a sentence, E channels of the shared space, h heads, k
channels of a head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.clip4clip import HEAD_WIDTH, attended, blocks_from, positions_from
from side4video.models.networks.contract import Descriptions, FrozenFeatures
from side4video.models.towers.text_tower import TextTower

DROPOUT = 0.1
"""In the co-attention (the authors' code)."""
SENTENCES = 30
"""Learned positions of sentences (the authors' code)."""


class CoAttention(nn.Module):
    """Frames attend to the sentences, and pass an MLP; post-norm (BERT's form)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.leave_attention = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, width), nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, frames_BTE: Tensor, sentences_BME: Tensor, mask_BM: Tensor) -> Tensor:
        """Frame features [B, T, E]. Sentences whose mask is False are not attended to."""
        query, key, value = (
            rearrange(each, "B N (h k) -> B h N k", h=self.heads)
            for each in (self.query(frames_BTE), self.key(sentences_BME), self.value(sentences_BME))
        )
        scores_BhTM = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights_BhTM = scores_BhTM.masked_fill(~attended(mask_BM), float("-inf")).softmax(dim=-1)
        mixed_BTE = rearrange(self.dropout(weights_BhTM) @ value, "B h T k -> B T (h k)")
        frames_BTE = self.attention_norm(frames_BTE + self.dropout(self.leave_attention(mixed_BTE)))
        hidden_BTE = F.gelu(self.enter(frames_BTE))
        return self.perceptron_norm(frames_BTE + self.dropout(self.leave(hidden_BTE)))


class DescribedFrames(nn.Module):
    """Frame features that attended to the sentences, then blocks over the frames with a residual connection."""

    def __init__(self, text: TextTower, *, layers: int, frames: int) -> None:
        """Blocks and positions start as the text tower's."""
        super().__init__()
        self.attention = CoAttention(text.output_dim)
        self.positions_TE = positions_from(text, at_least=frames)
        self.blocks = blocks_from(text, layers=layers)

    def forward(
        self, frames_BTE: Tensor, sentences_BME: Tensor, mask_BM: Tensor, frame_mask_BT: Tensor | None
    ) -> Tensor:
        """Frame features [B, T, E]."""
        frames_BTE = self.attention(frames_BTE, sentences_BME, mask_BM)
        mixed_BTE = frames_BTE + self.positions_TE[: frames_BTE.shape[1]]
        for block in self.blocks:
            mixed_BTE = block(mixed_BTE, frame_mask_BT)
        return frames_BTE + mixed_BTE


class SentenceEncoder(nn.Module):
    """Post-norm transformer layers over a video's sentences, which have learned positions."""

    def __init__(self, width: int, *, layers: int) -> None:
        super().__init__()
        self.positions_ME = nn.Parameter(0.02 * torch.randn(SENTENCES, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, max(1, width // HEAD_WIDTH), dim_feedforward=width, dropout=0.0, batch_first=True
            )
            for _ in range(layers)
        )

    def forward(self, sentences_BME: Tensor, mask_BM: Tensor) -> Tensor:
        """Sentence features [B, M, E]."""
        tokens_BME = sentences_BME + self.positions_ME[: sentences_BME.shape[1]]
        for layer in self.layers:
            tokens_BME = layer(tokens_BME, src_key_padding_mask=~mask_BM)
        return tokens_BME


class Cap4Video(nn.Module):
    """Features of frames, of sentences, or of both side by side, and features of the queries' words."""

    def __init__(
        self,
        video: nn.Module,
        text: TextTower,
        *,
        frames: DescribedFrames | None,
        sentences: SentenceEncoder | None,
    ) -> None:
        """Combine the parts.

        `video` maps frozen features to frame features [B, T, E]; one of `frames` and `sentences` may be None.
        """
        super().__init__()
        self.video = video if frames is not None else None
        self.text, self.frames, self.sentences = text, frames, sentences
        self.output_dim = text.output_dim

    def forward(
        self, features: FrozenFeatures, tokens_QW: Tensor, descriptions: Descriptions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, T, E], [B, M, E] or [B, T + M, E], features of words [Q, W, E], and a mask of the first."""
        sentences_BME, mask_BM = self._sentences(descriptions), descriptions.mask_BM
        parts: list[Tensor] = []
        masks: list[Tensor] = []
        if self.frames is not None and self.video is not None:
            frames_BTE, mask_BT = self.video(features).float(), features.frame_mask_BT
            parts.append(self.frames(frames_BTE, sentences_BME, mask_BM, mask_BT))
            masks.append(frames_BTE.new_ones(frames_BTE.shape[:2]).bool() if mask_BT is None else mask_BT)
        if self.sentences is not None:
            parts.append(self.sentences(sentences_BME, mask_BM))
            masks.append(mask_BM)
        return torch.cat(parts, dim=1), self.text(tokens_QW), torch.cat(masks, dim=1)

    def _sentences(self, descriptions: Descriptions) -> Tensor:
        """The text tower's feature [B, M, E] of each sentence."""
        tokens_BMW = descriptions.tokens_BMW
        flat_QW = tokens_BMW.flatten(0, 1)
        words_QWE = self.text(flat_QW)
        rows = torch.arange(len(flat_QW), device=flat_QW.device)
        features_QE = words_QWE[rows, self.text.tokenizer.feature_positions(flat_QW)]
        return features_QE.float().unflatten(0, tokens_BMW.shape[:2])

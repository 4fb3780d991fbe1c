"""Action recognition: head, loss and scores.

Legend: B clips, C classes, D features, E features of a space shared with texts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.precision import autocast_off
from side4video.models.towers.text_tower import TextFeatures
from side4video.tasks.class_scores import ClassScores


class TextHead(nn.Module):
    """Logits as cosines with frozen text features, times a frozen scale (CLIP: Radford et al., 2021, section 2.3).

    In fp32 whatever autocast is on around it: the scale, about 100, would make the rounding of a cosine visible.
    """

    features_CE: Tensor
    logit_scale: Tensor

    def __init__(self, texts: TextFeatures) -> None:
        super().__init__()
        self.register_buffer("features_CE", F.normalize(texts.features_CE.float(), dim=-1))
        self.register_buffer("logit_scale", texts.logit_scale.float())

    def forward(self, features_BE: Tensor) -> Tensor:
        """Features [B, E] to class logits [B, C]."""
        with autocast_off(features_BE.device.type):
            cosines_BC = F.normalize(features_BE.to(self.features_CE.dtype), dim=-1) @ self.features_CE.t()
            return cosines_BC * self.logit_scale.exp()


class Classification:
    """Single-label classification of clips."""

    headline = "top1"
    """By which the best epoch is chosen."""

    def __init__(
        self,
        classes: tuple[str, ...],
        *,
        label_smoothing: float = 0.1,
        dropout: float = 0.0,
        texts: TextFeatures | None = None,
    ) -> None:
        self.classes = classes
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self.texts = texts

    def head(self, width: int) -> nn.Module:
        """Features [B, D] to class logits [B, C]: a trained linear layer, or the classes' texts.

        Raises:
            ValueError: If the texts' features have another width.
        """
        if self.texts is None:
            return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(width, len(self.classes)))
        if width != self.texts.features_CE.shape[-1]:
            raise ValueError(f"features are {width} wide, those of the texts {self.texts.features_CE.shape[-1]}")
        return nn.Sequential(nn.Dropout(self.dropout), TextHead(self.texts))

    def loss(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        """Cross-entropy summed over the clips, so that parts of a batch add up to the whole."""
        return F.cross_entropy(
            logits_BC.float(), labels_B, label_smoothing=self.label_smoothing, reduction="sum", ignore_index=-1
        )

    def scores(self, logits_BC: Tensor) -> Tensor:
        """What is averaged over the views of a video: softmax probabilities."""
        return logits_BC.float().softmax(dim=-1)

    def targets(self, batch: Any) -> Tensor:
        """The labels [B] of a batch."""
        return batch.labels_B

    def mock_targets(self, clips: int, device: torch.device | str) -> Tensor:
        """Labels of clips that nobody recorded."""
        return torch.zeros(clips, dtype=torch.int64, device=device)

    def collector(
        self,
        module: nn.Module,  # noqa: ARG002 - another task's scores need it
        videos: int,
        tell: Callable[[str, int, int], None] | None = None,  # noqa: ARG002
    ) -> ClassScores:
        """Sums scores over views and workers."""
        return ClassScores(self, videos=videos)

"""Action recognition: head, loss and scores.

Legend: B clips, C classes, D features, E features of a space shared with texts.
"""

from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.engine.metrics import class_accuracy, label_ranks, recognition_metrics
from side4video.models.towers.text_tower import TextFeatures


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
        kind = features_BE.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            cosines_BC = F.normalize(features_BE.to(self.features_CE.dtype), dim=-1) @ self.features_CE.t()
            return cosines_BC * self.logit_scale.exp()


class Classification:
    """Single-label classification of clips."""

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

    def metrics(self, scores_NC: NDArray[np.float64], labels_N: NDArray[np.int64]) -> dict[str, float]:
        """`top1`, `top5`, `mean_class_accuracy`: fractions."""
        return recognition_metrics(label_ranks(scores_NC, labels_N), labels_N, classes=len(self.classes))

    def class_metrics(self, scores_NC: NDArray[np.float64], labels_N: NDArray[np.int64]) -> dict[str, float]:
        """Top-1 accuracy of each class that occurs, by name."""
        accuracy_C = class_accuracy(label_ranks(scores_NC, labels_N), labels_N, classes=len(self.classes))
        return {name: float(value) for name, value in zip(self.classes, accuracy_C, strict=True) if np.isfinite(value)}

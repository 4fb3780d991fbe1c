"""Action recognition: head, loss and scores.

Legend: B clips, C classes, D features.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.engine.metrics import class_accuracy, label_ranks, recognition_metrics


class Classification:
    """Single-label classification of clips."""

    def __init__(self, classes: tuple[str, ...], *, label_smoothing: float = 0.1, dropout: float = 0.0) -> None:
        self.classes = classes
        self.label_smoothing, self.dropout = label_smoothing, dropout

    def head(self, width: int) -> nn.Module:
        """Features [B, D] to class logits [B, C]."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(width, len(self.classes)))

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

"""Action recognition: head, loss and scores.

Legend: B clips, C classes, D features, E features of a space shared with texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.data.streams.batch import NO_LABEL
from side4video.models.layers.precision import autocast_off
from side4video.models.towers.text_tower import TextFeatures
from side4video.tasks.recognition.class_scores import ClassScores


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


@dataclass(frozen=True)
class MixedLabels:
    """Targets of mixed clips: both labels, `NO_LABEL` where there is none, and what the first one counts."""

    labels_B: Tensor
    partners_B: Tensor
    shares_B: Tensor
    """0 to 1; the partner's label counts the rest."""


class Classification:
    """Single-label classification of clips."""

    main_metric = "top1"
    """By which the best epoch is chosen."""

    def __init__(
        self,
        classes: tuple[str, ...],
        *,
        label_smoothing: float = 0.1,
        dropout: float = 0.0,
        texts: TextFeatures | None = None,
        mixes_labels: bool = False,
    ) -> None:
        self.classes = classes
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self.texts, self.mixes_labels = texts, mixes_labels

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

    def loss(self, logits_BC: Tensor, labels: Tensor | MixedLabels) -> Tensor:
        """Cross-entropy summed over the clips, so that parts of a batch add up to the whole.

        Of mixed clips `share x CE(label) + (1 - share) x CE(partner's label)`, each with the label smoothing: the
        cross-entropy with a target that has both labels in it. What has no label counts nothing.
        """
        if isinstance(labels, MixedLabels):
            return self._mixed_loss(logits_BC.float(), labels)
        return F.cross_entropy(
            logits_BC.float(), labels, label_smoothing=self.label_smoothing, reduction="sum", ignore_index=NO_LABEL
        )

    def _mixed_loss(self, logits_BC: Tensor, labels: MixedLabels) -> Tensor:
        log_likely_BC = F.log_softmax(logits_BC, dim=-1)  # once for both labels: it is what is kept for backward
        loss = logits_BC.new_zeros(())
        for labels_B, shares_B in (
            (labels.labels_B, labels.shares_B),
            (labels.partners_B, 1 - labels.shares_B),
        ):
            own_B = F.nll_loss(log_likely_BC, labels_B, reduction="none", ignore_index=NO_LABEL)
            spread_B = -log_likely_BC.mean(dim=-1) * (labels_B != NO_LABEL)
            loss = loss + ((own_B + self.label_smoothing * (spread_B - own_B)) * shares_B).sum()
        return loss

    def scores(self, logits_BC: Tensor) -> Tensor:
        """What is averaged over the views of a video: softmax probabilities."""
        return logits_BC.float().softmax(dim=-1)

    def targets(self, batch: Any) -> Tensor | MixedLabels:
        """The labels [B] of a batch, and those of the partners of mixed clips."""
        if batch.mixture is None:
            return batch.labels_B
        return MixedLabels(batch.labels_B, batch.mixture.partners_B, batch.mixture.shares_B)

    def mock_targets(self, clips: int, device: torch.device | str) -> Tensor | MixedLabels:
        """Labels of clips that nobody recorded."""
        labels_B = torch.zeros(clips, dtype=torch.int64, device=device)
        if not self.mixes_labels:
            return labels_B
        return MixedLabels(labels_B, labels_B.clone(), torch.ones(clips, device=device))

    def collector(
        self,
        module: nn.Module,  # noqa: ARG002 - another task's scores need it
        videos: int,
        tell: Callable[[str, int, int], None] | None = None,  # noqa: ARG002
    ) -> ClassScores:
        """Sums scores over views and workers."""
        return ClassScores(self, videos=videos)

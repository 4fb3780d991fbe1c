"""Action recognition: head, loss and scores.

Legend: B clips, C classes, D features, E features of a space shared with texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.core.metric import MetricSpec
from side4video.data.streams.batch import NO_LABEL
from side4video.models.layers.precision import autocast_off
from side4video.models.towers.text_tower import TextFeatures
from side4video.tasks.recognition.class_scores import ClassScores
from side4video.tasks.recognition.metrics import METRICS
from side4video.tasks.recognition.spotting import BatchLogits, batch_loss


class TextHead(nn.Module):
    """Logits as cosines with frozen text features, times a scale (CLIP: Radford et al., 2021, section 2.3).

    In fp32 even under autocast: the scale, about 100, multiplies the rounding error of a cosine.
    """

    features_CE: Tensor
    logit_scale: Tensor

    def __init__(self, texts: TextFeatures, *, trains_scale: bool = False) -> None:
        """`texts` are frozen; the scale is trained with `trains_scale`, at the rate of pretrained weights."""
        super().__init__()
        self.is_pretrained = trains_scale
        self.register_buffer("features_CE", F.normalize(texts.features_CE.float(), dim=-1))
        if trains_scale:
            # A copy: the head starts from the texts' scale and must not change it.
            self.logit_scale = nn.Parameter(texts.logit_scale.detach().float().clone())
        else:
            self.register_buffer("logit_scale", texts.logit_scale.float())

    def forward(self, features_BE: Tensor) -> Tensor:
        """Features [B, E] to class logits [B, C]."""
        with autocast_off(features_BE.device.type):
            cosines_BC = F.normalize(features_BE.to(self.features_CE.dtype), dim=-1) @ self.features_CE.t()
            return cosines_BC * self.logit_scale.exp()


@dataclass(frozen=True)
class MixedLabels:
    """Targets of mixed clips: both labels (`NO_LABEL` for none), and the weight of the first one."""

    labels_B: Tensor
    other_labels_B: Tensor
    shares_B: Tensor
    """From 0 to 1; the partner's label has the rest."""


def inverse_weights(labels: Sequence[int | None], classes: int) -> Tensor:
    """Weights [C] in inverse proportion to the clips of each class; their mean over labelled clips is 1.

    A class without a clip has the weight 0: no clip uses it.
    """
    counts_C = torch.bincount(
        torch.tensor([each for each in labels if each is not None], dtype=torch.int64), minlength=classes
    )
    present = int((counts_C > 0).sum())
    return torch.where(counts_C > 0, counts_C.sum() / (max(1, present) * counts_C.clamp(min=1)), 0.0).float()


class Classification:
    """Single-label classification of clips."""

    main_metric = METRICS[0]
    """The metric that selects the best epoch."""

    def __init__(
        self,
        classes: tuple[str, ...],
        *,
        label_smoothing: float = 0.1,
        dropout: float = 0.0,
        texts: TextFeatures | None = None,
        trains_scale: bool = False,
        mixes_labels: bool = False,
        class_weights: Tensor | None = None,
        extra_metrics: tuple[MetricSpec, ...] = (),
    ) -> None:
        """`class_weights` [C] are those of the training loss; None: all are 1. `extra_metrics` are of plug-ins.

        `trains_scale`: whether the scale of logits made of `texts` is trained.
        """
        self.classes, self.class_weights_C, self.extra_metrics = classes, class_weights, extra_metrics
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self.texts, self.trains_scale, self.mixes_labels = texts, trains_scale, mixes_labels

    def head(self, width: int) -> nn.Module:
        """Features [B, D] to class logits [B, C]: a trained linear layer, or the classes' texts.

        Raises:
            ValueError: The text features have another width.
        """
        if self.texts is None:
            return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(width, len(self.classes)))
        if width != self.texts.features_CE.shape[-1]:
            raise ValueError(f"features are {width} wide, those of the texts {self.texts.features_CE.shape[-1]}")
        return nn.Sequential(nn.Dropout(self.dropout), TextHead(self.texts, trains_scale=self.trains_scale))

    def loss(self, logits_BC: Tensor | BatchLogits, labels: Tensor | MixedLabels) -> Tensor:
        """Cross-entropy summed over the clips, so that the parts of a batch add up.

        For mixed clips: `share x CE(label) + (1 - share) x CE(partner's label)`, each with label smoothing, which is
        the cross-entropy with the mixed target. Clips without a label have no loss. For logits of a batch's own texts
        see `spotting.batch_loss`.
        """
        if isinstance(logits_BC, BatchLogits):
            if isinstance(labels, MixedLabels):
                raise TypeError("a batch of mixed clips has no texts of its own")
            return batch_loss(logits_BC, len(labels))
        if isinstance(labels, MixedLabels):
            return self._mixed_loss(logits_BC.float(), labels)
        if self.class_weights_C is None:
            return self.evaluation_loss(logits_BC, labels)
        losses_B = self._cross_entropy(logits_BC, labels, reduction="none")
        return (losses_B * self._weights_of(labels)).sum()

    def evaluation_loss(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        """The loss without class weights, so that it means the same for all runs."""
        return self._cross_entropy(logits_BC, labels_B, reduction="sum")

    def _cross_entropy(self, logits_BC: Tensor, labels_B: Tensor, *, reduction: str) -> Tensor:
        return F.cross_entropy(
            logits_BC.float(),
            labels_B,
            label_smoothing=self.label_smoothing,
            reduction=reduction,
            ignore_index=NO_LABEL,
        )

    def _weights_of(self, labels_B: Tensor) -> Tensor | float:
        """The weight of each clip; clips without a label have no loss, so theirs does not matter."""
        if self.class_weights_C is None:
            return 1.0
        return self.class_weights_C.to(labels_B.device)[labels_B.clamp(min=0)]

    def _mixed_loss(self, logits_BC: Tensor, labels: MixedLabels) -> Tensor:
        log_probability_BC = F.log_softmax(logits_BC, dim=-1)  # once for both labels, because backward saves it
        loss = logits_BC.new_zeros(())
        for labels_B, shares_B in ((labels.labels_B, labels.shares_B), (labels.other_labels_B, 1 - labels.shares_B)):
            own_B = F.nll_loss(log_probability_BC, labels_B, reduction="none", ignore_index=NO_LABEL)
            smooth_B = -log_probability_BC.mean(dim=-1) * (labels_B != NO_LABEL)
            losses_B = own_B + self.label_smoothing * (smooth_B - own_B)
            loss = loss + (losses_B * shares_B * self._weights_of(labels_B)).sum()
        return loss

    def scores(self, logits_BC: Tensor) -> Tensor:
        """Softmax probabilities, which are averaged over the views of a video."""
        return logits_BC.float().softmax(dim=-1)

    def targets(self, batch: Any) -> Tensor | MixedLabels:
        """The labels [B] of a batch; for mixed clips also those of the partners."""
        if batch.mixture is None:
            return batch.labels_B
        return MixedLabels(batch.labels_B, batch.mixture.other_labels_B, batch.mixture.shares_B)

    def mock_targets(self, clips: int, device: torch.device | str) -> Tensor | MixedLabels:
        """Labels for a dry run."""
        labels_B = torch.zeros(clips, dtype=torch.int64, device=device)
        if not self.mixes_labels:
            return labels_B
        return MixedLabels(labels_B, labels_B.clone(), torch.ones(clips, device=device))

    def collector(
        self,
        module: nn.Module,  # noqa: ARG002 - another task's scores need it
        videos: int,
        report_progress: Callable[[str, int, int], None] | None = None,  # noqa: ARG002
    ) -> ClassScores:
        """Collects scores over views and workers."""
        return ClassScores(self, videos=videos)

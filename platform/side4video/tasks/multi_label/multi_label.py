"""Several labels a clip: head, losses and scores.

Legend: B clips, C classes, D features, L places for labels of a clip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.core.errors import InputError
from side4video.data.streams.batch import NO_LABEL
from side4video.tasks.multi_label.label_scores import LabelScoresCollector
from side4video.tasks.multi_label.metrics import METRICS


@dataclass(frozen=True)
class AsymmetricLoss:
    """The asymmetric loss (Ridnik et al., 2021, arXiv 2009.14119, eqs. 4 to 6).

    With p the sigmoid of a logit and q = max(p - clip, 0), a class that a clip has costs
    `-(1 - p) ** gamma_positive * log(p)`, and another one `-q ** gamma_negative * log(1 - q)`. The weights have
    gradients, too. Without clip and exponents it is the binary cross-entropy.
    """

    gamma_positive: float = 0.0
    gamma_negative: float = 4.0
    clip: float = 0.05

    def __call__(self, logits_BC: Tensor, targets_BC: Tensor) -> Tensor:
        """The sum over clips and classes, of fp32 logits and of targets of 0 and 1."""
        # Not 1 - sigmoid, which is 0 from logits of 17 on.
        other_BC = torch.sigmoid(-logits_BC)
        own_BC = -F.logsigmoid(logits_BC)
        if self.gamma_positive:
            own_BC = own_BC * other_BC**self.gamma_positive
        if self.clip:
            rest_BC = (other_BC + self.clip).clamp(max=1.0)
            wrong_BC = -rest_BC.log()
            shifted_BC = (torch.sigmoid(logits_BC) - self.clip).clamp(min=0.0)
        else:
            wrong_BC, shifted_BC = -F.logsigmoid(-logits_BC), torch.sigmoid(logits_BC)
        if self.gamma_negative:
            wrong_BC = wrong_BC * shifted_BC**self.gamma_negative
        return torch.where(targets_BC > 0, own_BC, wrong_BC).sum()


def multi_hot(all_labels_BL: Tensor, classes: int) -> Tensor:
    """int64 labels [B, L], filled up with `NO_LABEL`, to fp32 targets [B, C] of 0 and 1."""
    # One column more, for what only fills up.
    targets = torch.zeros((len(all_labels_BL), classes + 1), device=all_labels_BL.device)
    places_BL = torch.where(all_labels_BL == NO_LABEL, classes, all_labels_BL)
    return targets.scatter_(1, places_BL, 1.0)[:, :classes]


class MultiLabel:
    """Classification of clips with any number of labels."""

    main_metric = METRICS[0]
    """The metric that selects the best epoch."""

    def __init__(
        self, classes: tuple[str, ...], *, asymmetric: AsymmetricLoss | None = None, dropout: float = 0.0
    ) -> None:
        """Without `asymmetric`, the loss is the binary cross-entropy."""
        self.classes, self.asymmetric, self.dropout = classes, asymmetric, dropout

    def head(self, width: int) -> nn.Module:
        """Features [B, D] to logits [B, C]."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(width, len(self.classes)))

    def loss(self, logits_BC: Tensor, targets_BC: Tensor) -> Tensor:
        """The loss summed over classes and clips, so that the parts of a batch add up; in fp32."""
        if self.asymmetric is not None:
            return self.asymmetric(logits_BC.float(), targets_BC)
        return F.binary_cross_entropy_with_logits(logits_BC.float(), targets_BC, reduction="sum")

    def scores(self, logits_BC: Tensor) -> Tensor:
        """Sigmoid probabilities, which are averaged over the views of a video."""
        return logits_BC.float().sigmoid()

    def targets(self, batch: Any) -> Tensor:
        """The targets [B, C] of a batch.

        Raises:
            InputError: The data set gives single labels.
        """
        labels_BL = getattr(batch, "all_labels_BL", None)
        if labels_BL is None:
            raise InputError(
                "data.dataset",
                "its clips have one label each, and the task is multi-label",
                allowed="a list with columns.labels, or charades",
                fix="choose another data set, or task: {kind: recognition}",
            )
        return multi_hot(labels_BL, len(self.classes))

    def mock_targets(self, clips: int, device: torch.device | str) -> Tensor:
        """Targets for a dry run."""
        return torch.zeros((clips, len(self.classes)), device=device)

    def collector(
        self,
        module: nn.Module,  # noqa: ARG002 - another task's scores need it
        videos: int,
        report_progress: Callable[[str, int, int], None] | None = None,  # noqa: ARG002
    ) -> LabelScoresCollector:
        """Collects scores over views and workers."""
        return LabelScoresCollector(self, videos=videos)

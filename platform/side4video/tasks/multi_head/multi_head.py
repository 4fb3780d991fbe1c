"""Several heads: classifiers, loss and scores.

Legend: B clips, C classes of all heads one after the other, D features, S heads.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.core.errors import InputError
from side4video.data.annotations.label_columns import ALL_HEADS
from side4video.data.streams.batch import NO_LABEL
from side4video.tasks.multi_head.head_scores import HeadScoresCollector
from side4video.tasks.multi_head.metrics import METRICS


class HeadClassifiers(nn.Module):
    """A linear layer for each head on one feature, with one dropout."""

    def __init__(self, width: int, heads: Mapping[str, int], *, dropout: float = 0.0) -> None:
        """`heads` has the number of classes of each. The layer of `verb` is the submodule `verb_classifier`."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.heads = tuple(heads)
        for name, classes in heads.items():
            self.add_module(f"{name}_classifier", nn.Linear(width, classes))

    def forward(self, features_BD: Tensor) -> Tensor:
        """Features [B, D] to the logits of all heads, one after the other, [B, C]."""
        dropped_BD = self.dropout(features_BD)
        return torch.cat([self.get_submodule(f"{name}_classifier")(dropped_BD) for name in self.heads], dim=-1)


class MultiHead:
    """Classification of clips by several heads."""

    main_metric = METRICS[0]
    """The metric that selects the best epoch."""

    def __init__(
        self, heads: Mapping[str, tuple[str, ...]], *, label_smoothing: float = 0.1, dropout: float = 0.0
    ) -> None:
        """`heads` has the names of the classes of each.

        Raises:
            InputError: There is none, or one has the name of all together.
        """
        if not heads:
            raise without_heads()
        if ALL_HEADS in heads:
            raise InputError(
                "data.dataset",
                f"a head is called {ALL_HEADS}, as are the metrics of all heads together",
                allowed="other names of heads",
                fix="rename the head",
            )
        self.heads, self.label_smoothing, self.dropout = dict(heads), label_smoothing, dropout
        self.sizes = [len(names) for names in self.heads.values()]

    def head(self, width: int) -> nn.Module:
        """Features [B, D] to logits [B, C]."""
        sizes = {name: len(names) for name, names in self.heads.items()}
        return HeadClassifiers(width, sizes, dropout=self.dropout)

    def loss(self, logits_BC: Tensor, labels_BS: Tensor) -> Tensor:
        """The cross-entropies of all heads, summed over heads and clips; in fp32.

        A label that is `NO_LABEL` has no loss.
        """
        total = logits_BC.new_zeros((), dtype=torch.float32)
        for number, part_BC in enumerate(logits_BC.float().split(self.sizes, dim=-1)):
            total = total + F.cross_entropy(
                part_BC,
                labels_BS[:, number],
                label_smoothing=self.label_smoothing,
                reduction="sum",
                ignore_index=NO_LABEL,
            )
        return total

    def scores(self, logits_BC: Tensor) -> Tensor:
        """Softmax probabilities of each head, one after the other; they are averaged over the views of a video."""
        return torch.cat([part_BC.softmax(dim=-1) for part_BC in logits_BC.float().split(self.sizes, dim=-1)], dim=-1)

    def targets(self, batch: Any) -> Tensor:
        """The labels [B, S] of a batch.

        Raises:
            InputError: The data set has no heads.
        """
        labels_BS = getattr(batch, "head_labels_BS", None)
        if labels_BS is None:
            raise without_heads()
        return labels_BS

    def mock_targets(self, clips: int, device: torch.device | str) -> Tensor:
        """Labels for a dry run."""
        return torch.zeros((clips, len(self.heads)), dtype=torch.int64, device=device)

    def collector(
        self,
        module: nn.Module,  # noqa: ARG002 - another task's scores need it
        videos: int,
        report_progress: Callable[[str, int, int], None] | None = None,  # noqa: ARG002
    ) -> HeadScoresCollector:
        """Collects scores over views and workers."""
        return HeadScoresCollector(self, videos=videos)


def without_heads() -> InputError:
    """The error of a data set without heads."""
    return InputError(
        "data.dataset",
        "its clips have no labels of several heads, and the task is multi-head",
        allowed="a list with label_columns, or epic-kitchens",
        fix="choose another data set, or task: {kind: recognition}",
    )

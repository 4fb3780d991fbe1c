"""Batches of clips whose classes nobody knows, for tasks that ask each clip for its labels.

Legend: B rows of a batch, L places for labels of a clip, S heads.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from side4video.data.streams.batch import NO_LABEL
from side4video.engine.pack import Batch, EvaluationBatches


class UnlabelledBatches:
    """Batches (`engine.pack.EvaluationBatches`) of clips with no class, and with none of each head."""

    def __init__(self, stream: EvaluationBatches, *, heads: int) -> None:
        """`heads` is their number."""
        self._stream, self._heads = stream, heads

    def batches(self) -> Iterator[Batch]:
        """The batches of the stream."""
        for each in self._stream.batches():
            batch: Any = each
            yield replace(
                batch,
                all_labels_BL=torch.full((len(each), 1), NO_LABEL),
                head_labels_BS=torch.full((len(each), self._heads), NO_LABEL),
            )

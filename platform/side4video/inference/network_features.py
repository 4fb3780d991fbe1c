"""The features that a trained network gives its head, averaged over the views of each clip.

Legend: B rows of a batch, D channels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from side4video.engine.pack import Batch, EvaluationBatches


class NetworkFeatures:
    """Batches (`engine.pack.EvaluationBatches`) whose features are collected while they are evaluated."""

    def __init__(self, stream: EvaluationBatches) -> None:
        self._stream = stream
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._views: dict[int, int] = {}
        self._indices: list[int] = []

    def batches(self) -> Iterator[Batch]:
        """The batches of the stream."""
        for batch in self._stream.batches():
            self._indices = batch.indices_B.tolist()
            yield batch

    @contextmanager
    def of(self, network: nn.Module) -> Iterator[None]:
        """Collect the output of a network inside the block."""
        hook = network.register_forward_hook(self._add)
        try:
            yield
        finally:
            hook.remove()

    def means(self) -> dict[int, NDArray[np.float32]]:
        """The features [D] of each clip, by its position."""
        return {index: (total / self._views[index]).astype(np.float32) for index, total in self._sums.items()}

    def _add(self, network: nn.Module, inputs: Any, features_BD: Tensor) -> None:  # noqa: ARG002 - a hook's arguments
        for index, features_D in zip(self._indices, features_BD.detach().double().cpu().numpy(), strict=True):
            self._sums[index] = self._sums.get(index, 0.0) + features_D
            self._views[index] = self._views.get(index, 0) + 1

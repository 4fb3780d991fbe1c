"""Similarities that are sums: each summand has a loss of its own, and the sum is ranked."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from side4video.tasks.retrieval.matching import Embeddings


@runtime_checkable
class SummedMatching(Protocol):
    """A matching of several similarities: its `compare` is their sum, each times its share."""

    shares: tuple[float, ...]

    def compare_each(self, texts: Embeddings, videos: Embeddings) -> tuple[Tensor, ...]:
        """Similarities [Q, B] of all pairs, one for each share."""
        ...


def weighted_sum(shares: tuple[float, ...], similarities: tuple[Tensor, ...]) -> Tensor:
    """The sum of similarities [Q, B], each times its share."""
    return torch.stack([share * each for share, each in zip(shares, similarities, strict=True)]).sum(dim=0)

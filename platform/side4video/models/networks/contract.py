"""What a network is given, and what it must offer.

Legend: B clips, T frames of a clip, N = B·T frames, P tokens of a frame ([CLS] first), C channels, H, W pixels,
D tower width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrozenFeatures:
    """What one pass of the frozen tower gives to every student of a pack. Nothing in it may be changed."""

    video_BTCHW: Tensor
    """Normalised frames, in the tower's precision."""
    tokens: Mapping[int, Tensor]
    """Output tokens [N, P, D] of each tapped block, by 0-based index."""
    pooled_BTD: Tensor | None = None
    """The tower's pooled frame feature, when a student reads it."""


class Network(Protocol):
    """A trainable network that reads frozen features."""

    output_dim: int
    """Width of the features it returns."""

    def __call__(self, features: FrozenFeatures) -> Tensor:
        """Features [B, output_dim] of the clips; no head, the task owns it."""
        ...

"""What a network is given, and what it must offer.

Legend: B clips, T frames of a clip, N frames that the tower sees (all of them, B·T, or every so many-th), P tokens of
a frame ([CLS] first), C channels, H, W pixels, D tower width, h heads, k channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from torch import Tensor

from side4video.models.layers.eight_bit import EightBitTokens
from side4video.models.towers.frozen_tower import FrozenTower


@dataclass(frozen=True, slots=True)
class FrozenFeatures:
    """What one pass of the frozen tower gives to every student of a pack. Nothing in it may be changed."""

    video_BTCHW: Tensor
    """Frames as they came, uint8; `normalise` makes of them what a network computes with."""
    normalise: Callable[[Tensor], Tensor]
    """Frames [..., C, H, W] as the tower was trained on them, in its precision."""
    tokens: dict[int, Tensor | EightBitTokens] = field(default_factory=dict)
    """Output tokens [N, P, D] of each tapped block, by 0-based index."""
    attention: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Queries and keys [N, h, P, k] of each block that somebody reads them of, by 0-based index."""
    pooled_BTD: Tensor | None = None
    """The tower's pooled frame feature, when a student reads it."""
    class_BTD: Tensor | None = None
    """The last block's [CLS] token of each frame, before the final norm, when a student reads it."""

    def release(self) -> None:
        """Let go of what was read, when the last student has run forward: its graph holds what its backward needs."""
        self.tokens.clear()
        self.attention.clear()

    def read(self, tap: int) -> Tensor:
        """Output tokens [N, P, D] of a block, restored where they are kept in eight bits."""
        kept = self.tokens[tap]
        return kept.restore() if isinstance(kept, EightBitTokens) else kept


class Network(Protocol):
    """A trainable network that reads frozen features."""

    output_dim: int
    """Width of the features it returns."""

    def __call__(self, features: FrozenFeatures) -> Tensor:
        """Features [B, output_dim] of the clips; no head, the task owns it."""
        ...


class RetrievalNetwork(Protocol):
    """A network with two sides, whose features meet in one space of E channels."""

    output_dim: int
    """E."""

    def __call__(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, E] of each frame of the clips, and features [Q, W, E] at each token of the texts."""
        ...


class BorrowedTower:
    """A frozen tower that a network runs and does not own: neither its parameters nor its state are the network's.

    A copy of the network (a moving average of its weights) borrows the same tower.
    """

    def __init__(self, tower: FrozenTower) -> None:
        self.tower = tower

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

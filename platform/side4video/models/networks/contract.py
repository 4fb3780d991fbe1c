"""The input of a network, and the interface it must have.

Legend: B clips, T frames of a clip, N frames that the tower sees (all B·T, or every n-th), P tokens of a frame
(prefix tokens first), C channels, H, W pixels, D tower width, h heads, k channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor

from side4video.models.backbones.shape import TokenLayout
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.towers.frozen_tower import FrozenTower


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The raw frames around each sampled frame."""

    frames_BTKCHW: Tensor
    """Half of the K frames are before the sampled frame and half after it, in order of time, uint8."""
    difference: Callable[[Tensor], Tensor]
    """`FrozenTower.difference`: frames to how each differs from the one before, as the tower's input is scaled."""


@dataclass(frozen=True, slots=True)
class FrozenFeatures:
    """The results of one pass of the frozen tower, shared by every student of a pack. Read only."""

    video_BTCHW: Tensor
    """Frames, uint8."""
    normalise: Callable[[Tensor], Tensor]
    """`FrozenTower.normalise`: pixels to the tower's input, in its precision."""
    layout: TokenLayout
    """Which tokens are patches, and which is the class token."""
    tokens: dict[int, Tensor | Int8Tokens] = field(default_factory=dict)
    """Output tokens [N, P, D] of each tapped block, by 0-based index."""
    attention: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Queries and keys [N, h, P, k] of each block that was requested, by 0-based index."""
    pooled_BTD: Tensor | None = None
    """The tower's pooled frame feature, if requested."""
    class_BTD: Tensor | None = None
    """The last block's class token of each frame, before the final norm, if requested."""
    neighbours: Neighbours | None = None
    """The frames around each frame, if requested."""
    frame_mask_BT: Tensor | None = None
    """False where a frame only fills up the clip of a short video; None if all frames are of the video."""

    def release(self) -> None:
        """Drop the tokens after the last student's forward; the graphs hold what backward needs."""
        self.tokens.clear()
        self.attention.clear()

    def read(self, tap: int) -> Tensor:
        """Output tokens [N, P, D] of a block, dequantised where they are stored in eight bits."""
        tokens = self.tokens[tap]
        return tokens.dequantize() if isinstance(tokens, Int8Tokens) else tokens


class Network(Protocol):
    """A trainable network that reads frozen features."""

    output_dim: int
    """Width of the features it returns."""

    def __call__(self, features: FrozenFeatures) -> Tensor:
        """Features [B, output_dim] of the clips, without the task's head."""
        ...


class RetrievalNetwork(Protocol):
    """A network for videos and texts, with features in one space of E channels."""

    output_dim: int
    """E."""

    def __call__(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, E] of the frames, and features [Q, W, E] of the texts' tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Sentences that describe the videos of a batch, as tokens; not the captions that they are searched by."""

    tokens_BMW: Tensor
    mask_BM: Tensor
    """False where a video has fewer than M sentences."""


class DescribedNetwork(Protocol):
    """A retrieval network that also reads sentences about each video (`MethodSpec.reads_descriptions`)."""

    output_dim: int
    """E."""

    def __call__(
        self, features: FrozenFeatures, tokens_QW: Tensor, descriptions: Descriptions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, T, E] of frames or sentences, features [Q, W, E] of the texts' tokens, and a mask [B, T]."""
        ...


class Pairs(NamedTuple):
    """Pairs of a text and a video: X texts of W tokens, and B videos of S tokens."""

    tokens_XW: Tensor
    videos_X: Tensor
    """The row of `seen_BSD` that each text is paired with."""
    seen_BSD: Tensor
    """The tokens of all frames of a video."""
    mask_BT: Tensor | None = None
    """False where a frame only fills up a short video; None if all frames are of the videos."""


class SharedTower:
    """Holds a frozen tower outside of the network's modules: its parameters are not in the network's state.

    A deep copy of the network (a moving average of its weights) shares the same tower.
    """

    def __init__(self, tower: FrozenTower) -> None:
        self.tower = tower

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

"""What a method reads of a frozen tower. A pack combines the requests of its students."""

from dataclasses import dataclass
from typing import Self

EMBEDDING = -1
"""The index of the tokens that enter the first block."""


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """The results of a tower that are needed. `a | b` is the union of two requests."""

    tokens: frozenset[int] = frozenset()
    """0-based blocks whose output tokens are read; `EMBEDDING` is the input of the first block."""
    attention: frozenset[int] = frozenset()
    """Blocks whose queries and keys are read."""
    pooled: bool = False
    """Whether the pooled frame feature is read."""
    class_token: bool = False
    """Whether the last block's class token is read, before the final norm."""
    every: int = 1
    """The tower sees every n-th frame of a clip, starting with the first."""
    neighbours: int = 0
    """How many raw frames before and after each sampled frame are read (`data.neighbours`)."""

    def __or__(self, other: Self) -> "FeatureRequest":
        """The union.

        Raises:
            ValueError: The requests are for different frames.
        """
        if self.every != other.every:
            raise ValueError(
                f"one reads every {self.every} frames and one every {other.every}: they cannot share a pass"
            )
        return FeatureRequest(
            self.tokens | other.tokens,
            self.attention | other.attention,
            self.pooled or other.pooled,
            self.class_token or other.class_token,
            self.every,
            max(self.neighbours, other.neighbours),
        )

    @property
    def needs_last_block(self) -> bool:
        """Whether the last block runs even if its tokens are not read."""
        return self.pooled or self.class_token

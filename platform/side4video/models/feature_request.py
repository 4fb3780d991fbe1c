"""What a method reads of a frozen tower, as a value: packs unite what their students read."""

from dataclasses import dataclass
from typing import Self

EMBEDDING = -1
"""The index under which the tokens that enter the first block are read."""


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Which of a tower's results somebody needs. `a | b` is what serves both."""

    tokens: frozenset[int] = frozenset()
    """0-based blocks whose output tokens are read; `EMBEDDING` is what enters the first."""
    attention: frozenset[int] = frozenset()
    """Blocks whose queries and keys are read."""
    pooled: bool = False
    """Whether the pooled frame feature is read (the tower's final norm of the [CLS] token)."""
    class_token: bool = False
    """Whether the last block's [CLS] token is read, before the final norm."""
    every: int = 1
    """The tower sees each so many-th frame of a clip, beginning with the first."""

    def __or__(self, other: Self) -> "FeatureRequest":
        """What serves both readers.

        Raises:
            ValueError: If they want the tower to see different frames.
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
        )

    @property
    def needs_last_block(self) -> bool:
        """Whether something of the last block is read beside its tokens."""
        return self.pooled or self.class_token

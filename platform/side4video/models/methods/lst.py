"""Ladder side-tuning (Sung et al., 2022, arXiv 2206.06522), carried from text to images.

A narrow transformer beside the tower starts from its embedded patches and takes each block's output through a gate
that is learned: g·h + (1 - g)·Linear(z), g = sigmoid(a / 0.1), a = 0 at first. There is no norm in front of the
Linear. The end is a norm and a Linear up to the tower's width; the feature is the mean over frames of [CLS]. Frames do
not see each other, so the order of frames cannot be seen.

The authors initialise the side blocks by structured pruning of the tower's weights; here they start at random
(torch's defaults for a Linear).
"""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING, FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.lst import LadderSideTuning
    from side4video.models.towers.frozen_tower import FrozenTower


class LSTSpec(MethodSpec):
    """A ladder beside the tower, as wide as a part of it (LST)."""

    kind: Literal["lst"] = "lst"
    reduction: PositiveInt = 8
    """Tower width over side width, and the tower's MLP over the side's (the authors: 8)."""
    layers: PositiveInt | Literal["all"] = "all"
    """Tower blocks that have a rung, evenly spaced and ending with the last. (The authors leave out 3 of 12.)"""
    heads: PositiveInt | Literal["tower"] = "tower"
    """Attention heads of a side block; `tower`: as many as the tower has, each narrower by `reduction`, as the
    authors have it."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower blocks that have a rung: for 4 of 12, they are 2, 5, 8, 11.

        Raises:
            PydanticCustomError: If there are more rungs than blocks.
        """
        layers = tower.depth if self.layers == "all" else self.layers
        if layers > tower.depth:
            raise wrong(
                "method.layers",
                f"layers {layers} is more than the backbone's {tower.depth} blocks",
                allowed=f"1 to {tower.depth}, or all",
                fix="set it to all",
            )
        return tuple((layer + 1) * tower.depth // layers - 1 for layer in range(layers))

    def dim(self, tower: TowerShape) -> int:
        """Channels of the side network."""
        return tower.width // self.reduction

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """What enters the first block, and the tokens of its taps.

        Raises:
            PydanticCustomError: If the tower has fewer blocks, or its width does not divide.
        """
        if tower.width % self.reduction:
            raise wrong(
                "method.reduction",
                f"the tower's width {tower.width} is not divisible by {self.reduction}",
                allowed=f"divisors of {tower.width}",
                fix="set it to 8",
            )
        if self.dim(tower) % self._heads(tower):
            raise wrong(
                "method.heads",
                f"the side width {self.dim(tower)} does not divide into {self._heads(tower)} heads",
                allowed=f"divisors of {self.dim(tower)}",
                fix="set heads, or another reduction",
            )
        return FeatureRequest(tokens=frozenset({EMBEDDING, *self.taps(tower)}))

    def output_dim(self, tower: TowerShape) -> int:
        """The tower's width."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "LadderSideTuning":
        """The ladder, initialised from torch's current generator."""
        from side4video.models.networks.lst import LadderSideTuning

        shape = tower.shape
        return LadderSideTuning(
            width=shape.width,
            taps=self.taps(shape),
            dim=self.dim(shape),
            heads=self._heads(shape),
            hidden=max(1, shape.mlp_width // self.reduction),
            frames=frames,
        )

    def _heads(self, tower: TowerShape) -> int:
        return tower.heads if self.heads == "tower" else self.heads

"""Ladder side-tuning (Sung et al., 2022, arXiv 2206.06522), for images in place of text.

A narrow transformer beside the tower starts from its embedded patches and reads each block's output z through a learned
gate: g·h + (1 - g)·Linear(z), g = sigmoid(a / 0.1), a = 0 at first, without a norm before the Linear. A norm and a
Linear up to the tower's width follow; the feature is the mean class token over frames. Frames are independent of each
other, so the network does not depend on their order.

The authors initialise the side blocks by structured pruning of the tower's weights; here the initial values are random
(torch's defaults for a Linear).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.core.bounds import Few, Layers, Ratio
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING, FeatureRequest
from side4video.models.method import MethodSpec, check_layers, check_reduction

if TYPE_CHECKING:
    from side4video.models.networks.lst import LadderSideTuning
    from side4video.models.towers.frozen_tower import FrozenTower


class LSTSpec(MethodSpec):
    """A ladder beside the tower, narrower by `reduction` (LST).

    The recipe `lst` has the learning rate and the warm-up of the authors' text tasks.
    """

    needs_class_token: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {"lst": {"learning_rate": 3e-3, "warmup": {"steps": 500}}}
    kind: Literal["lst"] = "lst"
    reduction: Ratio = 8
    """Tower width over side width, and the tower's MLP over the side's (the authors: 8)."""
    layers: Layers | Literal["all"] = "all"
    """Tower blocks that have a rung, evenly spaced and ending with the last. (The authors leave out 3 of 12.)"""
    heads: Few | Literal["tower"] = "tower"
    """Attention heads of a side block; `tower`: as many as the tower has, each narrower by `reduction`, as the
    authors have it."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower blocks with a rung: 2, 5, 8, 11 for 4 of 12.

        Raises:
            PydanticCustomError: There are more rungs than blocks.
        """
        layers = tower.depth if self.layers == "all" else self.layers
        check_layers(layers, tower, allowed=f"1 to {tower.depth}, or all", fix="set it to all")
        return tuple((layer + 1) * tower.depth // layers - 1 for layer in range(layers))

    def dim(self, tower: TowerShape) -> int:
        """Channels of the side network."""
        return tower.width // self.reduction

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The input of the first block, and the tokens of its taps.

        Raises:
            PydanticCustomError: The tower has fewer blocks, or its width is not divisible.
        """
        check_reduction(self.reduction, tower, default=8)
        if self.dim(tower) % self._heads(tower):
            raise wrong(
                "method.heads",
                f"the side width {self.dim(tower)} does not divide into {self._heads(tower)} heads",
                allowed=f"divisors of {self.dim(tower)}",
                fix="set heads, or another reduction",
            )
        return FeatureRequest(tokens=frozenset({EMBEDDING, *self.taps(tower)}))

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

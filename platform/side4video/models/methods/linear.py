"""The linear probe: a classifier on the mean over time of the frozen frame features.

The mean over time is the same for a clip and its reverse, so the probe cannot use the order of frames.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.linear import LinearProbe
    from side4video.models.towers.frozen_tower import FrozenTower


class LinearSpec(MethodSpec):
    """A linear probe on frozen frame features."""

    reads_clip_towers: ClassVar[bool] = True
    kind: Literal["linear"] = "linear"

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The pooled feature."""
        return FeatureRequest(pooled=True)

    def build(self, tower: "FrozenTower", *, frames: int) -> "LinearProbe":  # noqa: ARG002
        """The mean over time, without parameters: only the task's head is trained."""
        from side4video.models.networks.linear import LinearProbe

        return LinearProbe(width=tower.shape.width)

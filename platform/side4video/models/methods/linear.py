"""The linear probe: a classifier on the mean over time of the frozen frame feature.

It may tell apart what single frames show, never their order: the mean over time is the same for a clip and its
reverse. It is the floor under every method here.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.models.backbones.shape import TowerShape
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.linear import LinearProbe


class LinearSpec(MethodSpec):
    """A linear probe on frozen frame features."""

    reads_pooled: ClassVar[bool] = True

    kind: Literal["linear"] = "linear"

    def taps(self, tower: TowerShape) -> tuple[int, ...]:  # noqa: ARG002
        """None: the pooled feature is enough."""
        return ()

    def build(self, tower: TowerShape, *, frames: int) -> "LinearProbe":  # noqa: ARG002
        """The mean over time; it has no parameter of its own (the task's head is what is trained)."""
        from side4video.models.networks.linear import LinearProbe

        return LinearProbe(width=tower.width)

"""Full fine-tuning: the tower itself is trained, and its frame features are averaged over time.

It needs the most memory of all methods. The projection to the space shared with text is not used and not trained.
Checkpoints hold the whole tower.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.full import FullFineTuning
    from side4video.models.towers.frozen_tower import FrozenTower


class FullSpec(MethodSpec):
    """The whole tower is trained (full fine-tuning).

    Weights are fp32 (`backbone.precision`) and compute under `optimization.precision`: small updates would be lost
    in half precision.
    """

    packable: ClassVar[bool] = False
    projects_to_texts: ClassVar[bool] = True
    reads_clip_towers: ClassVar[bool] = True
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    kind: Literal["full"] = "full"

    def build(self, tower: "FrozenTower", *, frames: int) -> "FullFineTuning":  # noqa: ARG002
        """The tower, trained."""
        from side4video.models.networks.full import FullFineTuning

        return FullFineTuning(tower)

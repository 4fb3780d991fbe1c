"""AIM (Yang et al., 2023, arXiv 2302.03024): a frozen tower adapted over time, over space and jointly.

Temporal adaptation is the block's own frozen attention and norm a second time, over the frames of each place.
Every adapter starts as nothing: a new student computes what the frozen tower does.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.aim import AIM
    from side4video.models.towers.frozen_tower import FrozenTower

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class AIMSpec(MethodSpec):
    """Adapters, and the tower's own attention over time, inside the tower (AIM).

    A path is dropped for a whole clip. The authors draw the head from N(0, 0.01); here the task's head starts as
    every other method's does.
    """

    packable: ClassVar[bool] = False

    kind: Literal["aim"] = "aim"
    temporal_adapters: Literal[1, 2] = 2
    """After the attention over time, or also in front of it (the authors' Something-Something recipe for ViT-B/16;
    Table 2 in Side4Video counts two for ViT-L/14 as well, where the released configuration has one)."""
    reduction: PositiveInt = 4
    """Tower width over the adapters' (the authors: 4)."""
    scale: PositiveFloat = 1.0
    """Of the adapter beside the MLP (the authors: 1 for Something-Something, 0.5 for Kinetics)."""
    drop_path: Fraction = 0.2
    """Probability that the last block leaves its temporal and its joint adaptation out for a clip; less in the blocks
    before it, down to 0 in the first (the authors' configurations)."""
    dropout: Fraction = 0.5
    """On the features (the authors' configurations)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: If the tower's attention cannot go over time, or does not divide.
        """
        if not tower.plain_attention or tower.post_norm:
            raise wrong(
                "method.kind",
                "aim uses the tower's attention over time, and this tower's is not for that (rotary positions, or "
                "norms behind its branches)",
                allowed="CLIP's towers: backbone.model ViT-..., or backbone.kind vit",
                fix="take one of them, or another method (st-adapter works with every tower)",
            )
        if tower.width % self.reduction:
            raise wrong(
                "method.reduction",
                f"the tower's width {tower.width} is not divisible by {self.reduction}",
                allowed=f"divisors of {tower.width}",
                fix="set it to 4",
            )
        return FeatureRequest()

    def output_dim(self, tower: TowerShape) -> int:
        """The tower's width."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "AIM":
        """The adapters, around a borrowed tower."""
        from side4video.models.networks.aim import AIM

        return AIM(
            tower,
            frames=frames,
            temporal_adapters=self.temporal_adapters,
            dim=tower.shape.width // self.reduction,
            scale=self.scale,
            drop_path=self.drop_path,
            dropout=self.dropout,
        )

"""AIM (Yang et al., 2023, arXiv 2302.03024): a frozen tower adapted over time, over space and jointly.

Temporal adaptation runs the block's frozen norm and attention a second time, over the frames of each position. Every
adapter's output starts at zero, so a new student computes the same as the frozen tower.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from side4video.core.bounds import Ratio
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_reduction, recipe

if TYPE_CHECKING:
    from side4video.models.networks.aim import AIM
    from side4video.models.towers.frozen_tower import FrozenTower

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


def _recipe(learning_rate: float, *, epochs: int, head: float) -> dict[str, Any]:
    decay = {"weight_decay": 0.05, "weight_decay_on": "matrices"}
    common = recipe(learning_rate, 64, epochs=epochs, warmup_epochs=2.5)
    return {**common, **decay, "head_learning_rate_factor": head}


class AIMSpec(MethodSpec):
    """Adapters inside the tower, and the tower's own attention over time (AIM).

    Drop path drops a whole clip. The authors initialise the head with N(0, 0.01); here the task's head has the same
    initial values for all methods.

    The recipes `aim-...` are the authors': 64 clips; for ViT-L the head learns ten times as fast as the rest. Three
    things differ here. The authors decay biases, but neither norms nor the head. They use random erasing on
    Something-Something, and colour jitter for ViT-L on Kinetics.
    """

    packable: ClassVar[bool] = False
    projects_to_texts: ClassVar[bool] = True
    needs_class_token: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "aim-ssv2": _recipe(3e-4, epochs=50, head=1.0),
        "aim-ssv2-vitl14": _recipe(3e-5, epochs=50, head=10.0),
        "aim-k400": _recipe(3e-4, epochs=30, head=1.0),
        "aim-k400-vitl14": _recipe(3e-5, epochs=30, head=10.0),
    }
    kind: Literal["aim"] = "aim"
    temporal_adapters: Literal[1, 2] = 2
    """After the attention over time, or also before it (the authors' Something-Something recipe for ViT-B/16;
    Table 2 in Side4Video counts two for ViT-L/14 as well, where the released configuration has one)."""
    reduction: Ratio = 4
    """Tower width over the adapters' (the authors: 4)."""
    scale: PositiveFloat = 1.0
    """Scale of the adapter beside the MLP (the authors: 1 for Something-Something, 0.5 for Kinetics)."""
    drop_path: Fraction = 0.2
    """Probability that the last block skips its temporal and its joint adaptation for a clip; it falls linearly to 0 in
    the first block (the authors' configurations)."""
    dropout: Fraction = 0.5
    """On the features (the authors' configurations)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The tower's attention cannot run over time, or its width is not divisible.
        """
        if not tower.plain_attention or tower.post_norm:
            raise wrong(
                "method.kind",
                "aim uses the tower's attention over time, and this tower's is not for that (rotary positions, or "
                "norms behind its branches)",
                allowed="CLIP's towers: backbone.model ViT-..., or backbone.kind vit",
                fix="take one of them, or another method (st-adapter works with every tower)",
            )
        check_reduction(self.reduction, tower, default=4)
        return FeatureRequest()

    def build(self, tower: "FrozenTower", *, frames: int) -> "AIM":
        """The adapters, around the tower."""
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

"""ATM (Wu et al., 2023, arXiv 2307.08908): arithmetic between neighbouring frames inside a trained image tower.

In front of one block, a module adds what patches have in common with those of four neighbouring frames (products) and
where they differ (differences). The authors' code also filters the class tokens over time in every block.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, recipe

if TYPE_CHECKING:
    from side4video.models.networks.atm import ATM
    from side4video.models.towers.frozen_tower import FrozenTower


def _recipe(learning_rate: float, *, epochs: int, layer_decay: float) -> dict[str, Any]:
    """The settings for 128 videos; the authors' floor is then 5e-7."""
    return recipe(learning_rate, 128, epochs=epochs, warmup_epochs=5) | {
        "weight_decay": 0.05,
        "weight_decay_on": "matrices",
        "layer_decay": layer_decay,
        "final_learning_rate_fraction": 5e-7 / learning_rate,
    }


class ATMSpec(MethodSpec):
    """The tower is trained, with a module of products and differences of neighbouring frames in it (ATM).

    The recipes `atm-...` are the authors' for 128 videos of two draws each (`data.repeated_sampling: 2`), with their
    learning rates for 256 halved; `eva-l` are those of EVA-CLIP's ViT-L. They publish none for CLIP's ViT-L/14.
    """

    packable: ClassVar[bool] = False
    needs_class_token: ClassVar[bool] = True
    has_layer_depths: ClassVar[bool] = True
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "atm-ssv2-vitb16": _recipe(3.5e-4, epochs=20, layer_decay=0.70),
        "atm-ssv2-eva-l": _recipe(5e-4, epochs=15, layer_decay=0.75),
        "atm-k400-eva-l": _recipe(1e-4, epochs=20, layer_decay=0.70),
    }
    kind: Literal["atm"] = "atm"
    block: Annotated[int, Field(ge=0, le=1_000)] | Literal["authors"] = "authors"
    """The block, from 0, in front of which the module stands. `authors`: 7 of 12, 14 of 24, in proportion for other
    depths."""

    def block_of(self, tower: TowerShape) -> int:
        """The block in front of which the module stands.

        Raises:
            PydanticCustomError: The tower has fewer blocks.
        """
        block = 7 * tower.depth // 12 if self.block == "authors" else self.block
        if block >= tower.depth:
            raise wrong(
                "method.block",
                f"{block}, and the tower has {tower.depth} blocks",
                allowed=f"0 to {tower.depth - 1}, or authors",
                fix="set it to authors",
            )
        return block

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The tower has fewer blocks than `block` says.
        """
        self.block_of(tower)
        return FeatureRequest()

    def output_dim(self, tower: TowerShape) -> int:
        """The width of the space that the text tower shares."""
        return tower.output_dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "ATM":  # noqa: ARG002
        """The tower, trained, with filters and module."""
        from side4video.models.networks.atm import ATM

        return ATM(tower, at=self.block_of(tower.shape))

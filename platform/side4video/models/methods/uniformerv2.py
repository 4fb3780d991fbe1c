"""UniFormerV2 (Li et al., 2023, arXiv 2211.09552): one query reads the last blocks of CLIP's image tower.

Its two trained forms differ: on Something-Something the tower's blocks also mix patches over time, and its patches span
three frames. In a third form the tower is frozen, so that several students can share one pass.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from side4video.core.bounds import Layers
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_layers, recipe

if TYPE_CHECKING:
    from side4video.models.networks.contract import Network
    from side4video.models.towers.frozen_tower import FrozenTower

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class FrozenUniFormerV2Spec(MethodSpec):
    """One query on the frozen tokens of the tower's last blocks, with dynamic positions (UniFormerV2, frozen).

    For the authors' dropout of 0.5 before the classifier, set `task: {dropout: 0.5}`.
    """

    kind: Literal["uniformerv2-frozen"] = "uniformerv2-frozen"
    layers: Layers = 4
    """How many blocks, from the last, the query reads (the authors: 4)."""
    dropout: Fraction = 0.5
    """Inside the MLPs of the query, after the activation (the authors' code)."""
    query_drop_path: Fraction = 0.0
    """Probability that the last block's attention and MLP of the query are dropped for a clip; it falls linearly to 0
    at the first."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The last `layers` blocks.

        Raises:
            PydanticCustomError: The tower has fewer.
        """
        check_layers(self.layers, tower)
        return tuple(range(tower.depth - self.layers, tower.depth))

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last blocks."""
        return FeatureRequest(tokens=frozenset(self.taps(tower)))

    def build(self, tower: "FrozenTower", *, frames: int) -> "Network":
        """The query and its stages, initialised from torch's current generator."""
        from side4video.models.networks.uniformerv2 import FrozenUniFormerV2

        return FrozenUniFormerV2(
            tower=tower.shape,
            taps=self.taps(tower.shape),
            frames=frames,
            dropout=self.dropout,
            drop_path=self.query_drop_path,
        )


class UniFormerV2Spec(FrozenUniFormerV2Spec):
    """The image tower is trained, with a query on its last blocks, and local mixing in each block (UniFormerV2).

    For the authors' dropout of 0.5 before the classifier, set `task: {dropout: 0.5, label_smoothing: 0}`.

    The recipe `uniformerv2-ssv2` is the authors' for ViT-L/14. Their warm-up starts at 1e-6, here at zero. Drop path
    drops whole clips here.
    """

    packable: ClassVar[bool] = False
    needs_class_token: ClassVar[bool] = True
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "uniformerv2-ssv2": recipe(2e-5, 64, epochs=22, warmup_epochs=5)
        | {"weight_decay": 0.05, "weight_decay_on": "matrices", "final_learning_rate_fraction": 0.05}
    }
    kind: Literal["uniformerv2"] = "uniformerv2"  # type: ignore[assignment] the union selects by it
    form: Literal["something-something", "kinetics"] = "something-something"
    """`something-something`: patches of three frames, every second frame, and local mixing over time in every block.
    `kinetics`: neither; the tower sees every frame."""
    layers: Layers = 16
    """How many blocks, from the last, the query reads (the authors: 16 of ViT-L's 24 and all 12 of ViT-B's on
    Something-Something; 4 on Kinetics)."""
    dropout: Fraction = 0.5
    """As in `uniformerv2-frozen`."""
    drop_path: Fraction = 0.2
    """Probability that the branches of the tower's last block are dropped for a clip; it falls linearly to 0 in the
    first (the authors: 0.2 for ViT-L on Something-Something)."""
    query_drop_path: Fraction = 0.4
    """As in `uniformerv2-frozen` (the authors: 0.4 for ViT-L on Something-Something)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The tower has fewer blocks than the query reads.
        """
        self.taps(tower)
        return FeatureRequest()

    def build(self, tower: "FrozenTower", *, frames: int) -> "Network":  # noqa: ARG002
        """The tower, trained, and what is added to it."""
        from side4video.models.networks.uniformerv2 import UniFormerV2

        return UniFormerV2(
            tower,
            taps=self.taps(tower.shape),
            has_local=self.form == "something-something",
            dropout=self.dropout,
            drop_path=self.drop_path,
            query_drop_path=self.query_drop_path,
        )

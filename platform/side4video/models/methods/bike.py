"""BIKE (Wu et al., 2023, arXiv 2301.00182), its video branch: the words of a class choose frames of the video.

The whole image tower is trained, the text tower is frozen: `task: {label_smoothing: 0, classifier: {kind: spotting}}`.
In a second version, the image tower is frozen too, so that several students can share one pass.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.core.bounds import Layers
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import (
    FRAME_POSITIONS,
    MethodSpec,
    check_frame_positions,
    frame_feature_request,
    recipe,
)

if TYPE_CHECKING:
    from side4video.models.networks.bike import BIKE
    from side4video.models.towers.frozen_tower import FrozenTower


class FrozenBIKESpec(MethodSpec):
    """BIKE's temporal blocks on the frame features of a frozen tower (BIKE trains the tower).

    Only the blocks, the positions and the scale of the logits are trained.
    """

    classifiers: ClassVar[tuple[str, ...]] = ("spotting",)
    kind: Literal["bike-frozen"] = "bike-frozen"
    layers: Layers = 6
    """Blocks over the frames of a clip (the authors: 6)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """The frames' features before the final norm.

        Raises:
            PydanticCustomError: The clip has more frames than there are positions.
        """
        check_frame_positions(frames)
        return frame_feature_request(tower)

    def output_dim(self, tower: TowerShape) -> int:
        """The width of the space that the text tower shares."""
        return tower.output_dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "BIKE":  # noqa: ARG002
        """The blocks, initialised from torch's current generator; its features are of frames."""
        from side4video.models.networks.bike import BIKE
        from side4video.models.networks.text4vis import FrozenTowerFrames

        width = tower.shape.output_dim
        return BIKE(FrozenTowerFrames(tower), output_dim=width, layers=self.layers, positions=FRAME_POSITIONS)


class BIKESpec(FrozenBIKESpec):
    """BIKE: the image tower and temporal blocks are trained; the words of a class choose frames.

    The recipe `bike-k400` is the authors' for ViT-L/14. Their row of Table 5 is this branch alone; the branch of
    attributes is a model of its own, and is not here.
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "bike-k400": recipe(5e-5, 256, epochs=20, warmup_epochs=5)
        | {
            "pretrained_learning_rate_factor": 0.1,
            "weight_decay": 0.2,
            "weight_decay_on": "all",
            "learning_rate_updates": "authors",
        }
    }
    kind: Literal["bike"] = "bike"  # type: ignore[assignment] the union selects by it
    layers: Layers = 6
    """As in `bike-frozen`."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The clip has more frames than there are positions.
        """
        check_frame_positions(frames)
        return FeatureRequest()

    def build(self, tower: "FrozenTower", *, frames: int) -> "BIKE":  # noqa: ARG002
        """The tower, trained, and the blocks; its features are of frames."""
        from side4video.models.networks.bike import BIKE
        from side4video.models.networks.clip4clip import TrainedFrames

        video = TrainedFrames(tower, trains_entrance=True)
        return BIKE(video, output_dim=tower.shape.output_dim, layers=self.layers, positions=FRAME_POSITIONS)

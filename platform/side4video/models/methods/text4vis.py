"""Text4Vis (Wu et al., 2023, arXiv 2207.01297): blocks over CLIP's frame features; the classes' texts classify.

The whole image tower is trained, the text tower is frozen: `task: {classifier: {kind: text}}`. In a second version, the
image tower is frozen too, so that several students can share one pass.
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
    from side4video.models.networks.text4vis import Text4Vis
    from side4video.models.towers.frozen_tower import FrozenTower


class FrozenText4VisSpec(MethodSpec):
    """Temporal blocks on the frame features of a frozen tower (Text4Vis, which trains the tower).

    Final norm and projection are the tower's, frozen. Only the blocks and the positions are trained, and the scale of
    the logits with `task: {classifier: {trains_scale: true}}`.
    """

    classifiers: ClassVar[tuple[str, ...]] = ("text",)
    kind: Literal["text4vis-frozen"] = "text4vis-frozen"
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

    def build(self, tower: "FrozenTower", *, frames: int) -> "Text4Vis":  # noqa: ARG002
        """The blocks, initialised from torch's current generator."""
        from side4video.models.networks.text4vis import FrozenTowerFrames, Text4Vis

        width = tower.shape.output_dim
        return Text4Vis(FrozenTowerFrames(tower), output_dim=width, layers=self.layers, positions=FRAME_POSITIONS)


class Text4VisSpec(FrozenText4VisSpec):
    """Text4Vis: the image tower and temporal blocks on its frame features are trained; the texts classify.

    The recipe `text4vis-k400` is the authors' for ViT-L/14, with its updates of the learning rate at every tenth step.
    Their scale of the logits is trained, at the tower's rate: `task: {label_smoothing: 0, classifier: {kind: text,
    prompt: "a video of a person {}.", trains_scale: true}}`.
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text4vis-k400": recipe(5e-5, 128, epochs=30, warmup_epochs=5)
        | {
            "pretrained_learning_rate_factor": 0.1,
            "weight_decay": 0.2,
            "weight_decay_on": "all",
            "learning_rate_updates": "authors",
        }
    }
    kind: Literal["text4vis"] = "text4vis"  # type: ignore[assignment] the union selects by it
    layers: Layers = 6
    """As in `text4vis-frozen`."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The clip has more frames than there are positions.
        """
        check_frame_positions(frames)
        return FeatureRequest()

    def build(self, tower: "FrozenTower", *, frames: int) -> "Text4Vis":  # noqa: ARG002
        """The tower, trained, and the blocks."""
        from side4video.models.networks.clip4clip import TrainedFrames
        from side4video.models.networks.text4vis import Text4Vis

        video = TrainedFrames(tower, trains_entrance=True)
        return Text4Vis(video, output_dim=tower.shape.output_dim, layers=self.layers, positions=FRAME_POSITIONS)

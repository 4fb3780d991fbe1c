"""Zero-shot CLIP: its frame features and texts, without training.

Training steps change nothing, so `optimization.length: {steps: 1}` is enough. For recognition the classes' texts are
the classifier (`task.classifier: {kind: text}`), as in the paper's Figure 5 (appendix B).
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, frame_feature_request

if TYPE_CHECKING:
    from side4video.models.networks.pair import FrozenMean, Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class ZeroShotSpec(MethodSpec):
    """Both towers frozen."""

    tasks: ClassVar[tuple[str, ...]] = ("recognition", "retrieval")
    classifiers: ClassVar[tuple[str, ...]] = ("text",)
    trains_text: ClassVar[bool] = False
    kind: Literal["zero-shot"] = "zero-shot"

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The frames' features."""
        return frame_feature_request(tower)

    def output_dim(self, tower: TowerShape) -> int:
        """The width of the space that the text tower shares."""
        return tower.output_dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "FrozenMean":  # noqa: ARG002
        """The mean of the frames' features, without trained parameters."""
        from side4video.models.networks.pair import FrozenMean

        return FrozenMean(tower)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """Both towers, without trained parameters."""
        from side4video.models.networks.pair import FrozenFrames, Pair

        video = FrozenFrames(tower).requires_grad_(False)
        return Pair(video, text, output_dim=tower.shape.output_dim)

"""CLIP as it is: its frame features and its texts, and nothing is trained.

A run of it takes steps that change nothing (`optimization.length: {steps: 1}` is enough), and its evaluation is what
the trained methods begin with. For recognition the classes' texts are the classifier (`task.classifier: {kind: text}`):
the paper's Figure 5 compares with it (appendix B).
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.networks.zero_shot import FrozenMean
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class ZeroShotSpec(MethodSpec):
    """Both towers frozen."""

    tasks: ClassVar[tuple[str, ...]] = ("recognition", "retrieval")
    classifiers: ClassVar[tuple[str, ...]] = ("text",)
    trains_text: ClassVar[bool] = False

    kind: Literal["zero-shot"] = "zero-shot"

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing but the last [CLS] token."""
        return FeatureRequest(class_token=True)

    def output_dim(self, tower: TowerShape) -> int:
        """The width of the space that the text tower shares."""
        return tower.output_dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "FrozenMean":  # noqa: ARG002
        """The mean of the frames' features, without a parameter that learns."""
        from side4video.models.networks.zero_shot import FrozenMean

        return FrozenMean(tower)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """Both sides, without a parameter that learns."""
        from side4video.models.networks.pair import FrozenFrames, Pair

        video = FrozenFrames(tower).requires_grad_(False)
        return Pair(video, text, output_dim=tower.shape.output_dim)

"""CLIP4Clip (Luo et al., 2021, arXiv 2104.08860): CLIP's own frame features, compared with texts in one of three ways.

The paper's baseline of section 4.4: with both towers trained, and with the image tower frozen but for its last two
layers.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class FrozenCLIP4ClipSpec(MethodSpec):
    """The image tower is frozen; its final norm and projection, and the text tower, are trained."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)

    kind: Literal["clip4clip-frozen"] = "clip4clip-frozen"
    similarity: Literal["meanp", "seq-transf", "tight-transf"] = "meanp"
    """The mean of the frames; the same after blocks that see their order; or blocks over a text and the frames
    together, which every pair has to pass (`task.matching` says which pairs are compared how)."""
    layers: PositiveInt = 4
    """Blocks of `seq-transf` (authors: 4); those of `tight-transf` are `task.matching`'s."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing but the last [CLS] token."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both sides."""
        from side4video.models.networks.clip4clip import FrameSequence
        from side4video.models.networks.pair import FrozenFrames, Pair

        video = FrozenFrames(tower)
        if self.similarity == "seq-transf":
            video = FrameSequence(video, text, layers=self.layers, frames=frames)
        return Pair(video, text, output_dim=tower.shape.output_dim)


class CLIP4ClipSpec(MethodSpec):
    """Both towers are trained, but for their entrances: patches, tokens, positions, and the norm in front of blocks."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    kind: Literal["clip4clip"] = "clip4clip"
    similarity: Literal["meanp", "seq-transf", "tight-transf"] = "meanp"
    """As in `clip4clip-frozen`."""
    layers: PositiveInt = 4
    """As in `clip4clip-frozen`."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both sides; the tower is from now on trained."""
        from side4video.models.networks.clip4clip import FrameSequence, TrainedFrames, freeze_entrance
        from side4video.models.networks.pair import Pair

        freeze_entrance(text)
        video = TrainedFrames(tower)
        if self.similarity == "seq-transf":
            video = FrameSequence(video, text, layers=self.layers, frames=frames)
        return Pair(video, text, output_dim=tower.shape.output_dim)

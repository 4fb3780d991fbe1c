"""CLIP4Clip (Luo et al., 2021, arXiv 2104.08860): CLIP's frame features, compared with texts in one of three ways.

The baseline of the paper's section 4.4, in two versions: both towers are trained, or the image tower is frozen except
for its last two layers.
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

Similarity = Literal["meanp", "seq-transf", "tight-transf"]
MATCHINGS: dict[Similarity, tuple[str, ...]] = {
    "meanp": ("mean",),
    "seq-transf": ("mean",),
    "tight-transf": ("tight",),
}
"""The kind of `task.matching` that each similarity needs."""


class FrozenCLIP4ClipSpec(MethodSpec):
    """The image tower is frozen; its final norm and projection, and the text tower, are trained."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    needs_class_token: ClassVar[bool] = True

    kind: Literal["clip4clip-frozen"] = "clip4clip-frozen"
    similarity: Similarity = "meanp"
    """`meanp`: the mean of the frames; `seq-transf`: the same after blocks over the frames; `tight-transf`: blocks over
    a text and the frames of a video together. `task.matching` must be mean, mean and tight."""
    layers: PositiveInt = 4
    """Blocks of `seq-transf` (authors: 4); for `tight-transf` set `task.matching.layers`."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """The one that `similarity` needs."""
        return MATCHINGS[self.similarity]

    @property
    def matching_reason(self) -> str:
        """`similarity` decides."""
        return f"method.similarity is {self.similarity}"

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing more than the last class token of `frame_request`."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both networks."""
        from side4video.models.networks.clip4clip import FrameSequence
        from side4video.models.networks.pair import FrozenFrames, Pair

        video = FrozenFrames(tower)
        if self.similarity == "seq-transf":
            video = FrameSequence(video, text, layers=self.layers, frames=frames)
        return Pair(video, text, output_dim=tower.shape.output_dim)


class CLIP4ClipSpec(MethodSpec):
    """Both towers are trained, except for their embeddings and the norm before the first block."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    kind: Literal["clip4clip"] = "clip4clip"
    similarity: Similarity = "meanp"
    """As in `clip4clip-frozen`."""
    layers: PositiveInt = 4
    """As in `clip4clip-frozen`."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """The one that `similarity` needs."""
        return MATCHINGS[self.similarity]

    @property
    def matching_reason(self) -> str:
        """`similarity` decides."""
        return f"method.similarity is {self.similarity}"

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both networks. The given tower is trained."""
        from side4video.models.networks.clip4clip import FrameSequence, TrainedFrames, freeze_entrance
        from side4video.models.networks.pair import Pair

        freeze_entrance(text)
        video = TrainedFrames(tower)
        if self.similarity == "seq-transf":
            video = FrameSequence(video, text, layers=self.layers, frames=frames)
        return Pair(video, text, output_dim=tower.shape.output_dim)

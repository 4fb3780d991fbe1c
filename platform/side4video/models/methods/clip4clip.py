"""CLIP4Clip (Luo et al., 2021, arXiv 2104.08860): CLIP's frame features, compared with texts in one of three ways.

The baseline of the paper's section 4.4, in two versions: both towers are trained, or the image tower is frozen except
for its last two layers.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.core.bounds import Layers
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

Similarity = Literal["meanp", "seq-transf", "tight-transf"]
MATCHINGS: dict[Similarity, tuple[str, ...]] = {"meanp": ("mean",), "seq-transf": ("mean",), "tight-transf": ("tight",)}
"""The kind of `task.matching` that each similarity needs."""


class FrozenCLIP4ClipSpec(MethodSpec):
    """The image tower is frozen; its final norm and projection, and the text tower, are trained."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    kind: Literal["clip4clip-frozen"] = "clip4clip-frozen"
    similarity: Similarity = "meanp"
    """`meanp`: the mean of the frames; `seq-transf`: the same after blocks over the frames; `tight-transf`: blocks over
    a text and the frames of a video together. `task.matching` must be mean, mean and tight."""
    layers: Layers = 4
    """Blocks of `seq-transf` (authors: 4); for `tight-transf` set `task.matching.layers`."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """The one that `similarity` needs."""
        return MATCHINGS[self.similarity]

    @property
    def matching_reason(self) -> str:
        """`similarity` decides."""
        return f"method.similarity is {self.similarity}"

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both networks."""
        from side4video.models.networks.clip4clip import FrameSequence
        from side4video.models.networks.pair import Pair

        video = self._frames(tower, text)
        if self.similarity == "seq-transf":
            video = FrameSequence(video, text, layers=self.layers, frames=frames)
        return Pair(video, text, output_dim=tower.shape.output_dim)

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:  # noqa: ARG002
        from side4video.models.networks.pair import FrozenFrames

        return FrozenFrames(tower)


class CLIP4ClipSpec(FrozenCLIP4ClipSpec):
    """Both towers are trained, except for their embeddings and the norm before the first block."""

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    kind: Literal["clip4clip"] = "clip4clip"  # type: ignore[assignment] the union selects by it
    similarity: Similarity = "meanp"
    """As in `clip4clip-frozen`."""
    layers: Layers = 4
    """As in `clip4clip-frozen`."""

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:
        from side4video.models.networks.clip4clip import TrainedFrames, freeze_entrance

        freeze_entrance(text)
        return TrainedFrames(tower)

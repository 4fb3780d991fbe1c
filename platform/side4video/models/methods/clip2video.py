"""CLIP2Video (Fang et al., 2021, arXiv 2106.11097): differences between frames, and words aligned with frames.

The temporal modules are in the similarity: `task.matching: {kind: temporal-alignment}`.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class FrozenCLIP2VideoSpec(MethodSpec):
    """CLIP2Video beside a frozen image tower, whose final norm and projection are trained (the authors train it all).

    Its similarity, `task.matching: {kind: temporal-alignment}`, has the temporal blocks.
    """

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    kind: Literal["clip2video-frozen"] = "clip2video-frozen"

    @property
    def matchings(self) -> tuple[str, ...]:
        """CLIP2Video's own."""
        return ("temporal-alignment",)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """Both networks."""
        from side4video.models.networks.pair import Pair

        return Pair(self._frames(tower, text), text, output_dim=tower.shape.output_dim)

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:  # noqa: ARG002
        from side4video.models.networks.pair import FrozenFrames

        return FrozenFrames(tower)


class CLIP2VideoSpec(FrozenCLIP2VideoSpec):
    """CLIP2Video: both towers are trained, except for their embeddings and the norm before the first block.

    The recipe is CLIP4Clip's. In a clip with frames that only fill it up, the authors' masks belong to another video of
    the batch; here each video has its own.
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    kind: Literal["clip2video"] = "clip2video"  # type: ignore[assignment] the union selects by it

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:
        from side4video.models.networks.clip4clip import TrainedFrames, freeze_entrance

        freeze_entrance(text)
        return TrainedFrames(tower)

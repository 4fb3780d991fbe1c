"""UniAdapter (Lu et al., 2023, arXiv 2302.06605) on CLIP: one adapter for the same block of both towers.

The paper's model is BLIP, and a part of its method is for what CLIP does not have. Without a cross-modal encoder there
are neither the third way up (with a norm of its own), nor the low-rank adapters of keys and values of the video in
cross-attention, nor the frame-aware weights, nor the head that is trained to tell right pairs from wrong ones, nor the
re-ranking by it; without BLIP's momentum towers there is no queue of past features. What is left is here as in the
authors' code.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.uniadapter import UniAdapter
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class UniAdapterSpec(MethodSpec):
    """Adapters beside the MLPs of both frozen towers, with one way down for both (UniAdapter).

    BLIP's towers are as wide and as deep as each other, most of CLIP's are not. Here the norm and the way down are as
    wide as the wider tower, and the narrower one uses their first channels; where one tower has more blocks, the
    adapters of those are its own. On towers alike it is the authors' adapter. Their projections into the shared space
    are trained, CLIP's stay as they are.
    """

    packable: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False

    kind: Literal["uniadapter"] = "uniadapter"
    dim: PositiveInt = 512
    """Channels of the bottleneck (the authors: 512, and 128 for the small model)."""
    scale: PositiveFloat = 0.1
    """Of what an adapter adds (the authors: 0.1)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "UniAdapter":  # noqa: ARG002
        """Adapters in a borrowed image tower and in the text tower."""
        from side4video.models.networks.uniadapter import UniAdapter

        return UniAdapter(tower, text, dim=self.dim, scale=self.scale)

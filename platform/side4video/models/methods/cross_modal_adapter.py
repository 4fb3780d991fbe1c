"""Cross-Modal Adapter (Jiang et al., 2022, arXiv 2211.09623): adapters in both towers that share a part of themselves.

Behind the attention and behind the MLP of every block, in both towers: down, QuickGELU, up, added to what passes.
The last rows of the way up are the same in both towers at the same block, so both need as many blocks.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from side4video.core.errors import InputError
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.cross_modal_adapter import CrossModalAdapter
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class CrossModalAdapterSpec(MethodSpec):
    """Adapters in both frozen towers, joined at their exits (Cross-Modal Adapter).

    Nothing else is trained: no norm, no projection, not CLIP's scale. The authors compare by the mean of the frames
    (`task.matching: {kind: mean}`); their adapters compute in fp16 without fp32 weights, here as everything else does.
    """

    packable: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False

    kind: Literal["cross-modal-adapter"] = "cross-modal-adapter"
    dim: PositiveInt = 8
    """Channels of the bottleneck (the authors: 8)."""
    shared: PositiveInt = 16
    """Rows of the way up that both towers use at the same block, the last ones of each (the authors: 16)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: If the tower's branches end in norms, or it is too narrow.
        """
        if tower.post_norm:
            raise wrong(
                "method.kind",
                f"{self.kind} adapts what attention and MLP give, and this tower has norms behind both",
                allowed="towers with norms in front of their branches, such as CLIP's",
                fix="take one of them, or another method",
            )
        if self.shared >= tower.width:
            raise wrong(
                "method.shared",
                f"{self.shared} shared rows of the image tower's {tower.width} channels",
                allowed=f"less than {tower.width}",
                fix="set it to 16",
            )
        return FeatureRequest()

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """Nothing: it runs the tower itself."""
        return self.reads(tower, frames=frames)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "CrossModalAdapter":  # noqa: ARG002
        """Adapters in a borrowed image tower and in the text tower.

        Raises:
            InputError: If the towers have different depths, which only both of them can tell, or texts are too narrow.
        """
        from side4video.models.networks.cross_modal_adapter import CrossModalAdapter

        if tower.shape.depth != text.depth:
            raise InputError(
                "method.kind",
                f"{self.kind} shares rows at each depth, and the image tower has a depth of {tower.shape.depth} "
                f"blocks, the text tower of {text.depth}",
                allowed="two towers of equal depth (ViT-B-32 and ViT-B-16: 12 and 12)",
                fix="take such a backbone, or the method uniadapter",
            )
        if self.shared >= text.width:
            raise InputError(
                "method.shared",
                f"{self.shared} shared rows of the text tower's {text.width} channels",
                allowed=f"less than {text.width}",
                fix="set it to 16",
            )
        return CrossModalAdapter(tower, text, dim=self.dim, shared=self.shared)

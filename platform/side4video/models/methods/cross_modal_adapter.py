"""Cross-Modal Adapter (Jiang et al., 2022, arXiv 2211.09623): adapters in both towers with shared parameters.

An adapter (down, QuickGELU, up, residual connection) follows the attention and the MLP of every block in both towers.
The last rows of the up-projection are shared by both towers at the same block, so both need the same depth.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.core.bounds import Width
from side4video.core.errors import InputError
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import RETRIEVAL_RECIPE, MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.cross_modal_adapter import CrossModalAdapter
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class CrossModalAdapterSpec(MethodSpec):
    """Adapters in both frozen towers, which share rows of the up-projection (Cross-Modal Adapter).

    Nothing else is trained: no norm, no projection, not CLIP's scale. The authors compare by the mean of the frames
    (`task.matching: {kind: mean}`). Their adapters have fp16 weights, here fp32.

    The recipe `cross-modal-adapter` is `retrieval` at 1e-5.
    """

    packable: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cross-modal-adapter": RETRIEVAL_RECIPE | {"learning_rate": 1e-5, "pretrained_learning_rate_factor": 1.0}
    }
    kind: Literal["cross-modal-adapter"] = "cross-modal-adapter"
    dim: Width = 8
    """Channels of the bottleneck (the authors: 8)."""
    shared: Width = 16
    """Rows of the up-projection that both towers share at the same block, the last ones of each (the authors: 16)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself.

        Raises:
            PydanticCustomError: The tower is post-norm or too narrow.
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

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "CrossModalAdapter":  # noqa: ARG002
        """Adapters in the image tower and in the text tower.

        Raises:
            InputError: The towers have different depths, or the text tower is too narrow.
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

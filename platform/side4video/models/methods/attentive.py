"""The attentive probe (after V-JEPA: Bardes et al., 2024, arXiv 2404.08471): learned queries read the last block.

Design: all T·S tokens of the clip ([CLS] tokens too) pass one layer norm; every layer is a cross-attention of the
learned queries over them, the queries normalised, then a pre-norm MLP, each with a residual; the feature is the mean of
the queries behind the last layer. As V-JEPA's probe: one query, one layer, weights from a truncated N(0, 0.02). Our
own: the norm on the queries; that further layers read the same frozen tokens again (V-JEPA 2 puts layers of
self-attention in front); and one learned embedding a frame, zero at first, that is added to the normalised tokens.
Without it attention is a sum over a set, and a clip and its reverse are the same.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.attentive import AttentiveProbe
    from side4video.models.towers.frozen_tower import FrozenTower


class AttentiveSpec(MethodSpec):
    """An attentive probe on the frozen tokens of the last block."""

    kind: Literal["attentive"] = "attentive"
    queries: PositiveInt = 1
    """Learned queries (V-JEPA: 1); their mean is the feature."""
    layers: PositiveInt = 1
    """Times the queries read the tokens (V-JEPA: 1)."""
    heads: PositiveInt | Literal["tower"] = "tower"
    """Attention heads; `tower`: as many as the tower has (12 for ViT-B, V-JEPA's number; 16 for ViT-L)."""
    mlp_ratio: PositiveInt = 4
    """Hidden width of the MLP over the tower's (V-JEPA: 4)."""
    temporal_positions: bool = True
    """One learned embedding a frame, zero at first: without it the order of frames cannot be seen."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last block.

        Raises:
            PydanticCustomError: If the tower's width does not divide into the heads.
        """
        if self.heads != "tower" and tower.width % self.heads:
            raise wrong(
                "method.heads",
                f"the tower's width {tower.width} does not divide into {self.heads} heads",
                allowed=f"divisors of {tower.width}, or tower",
                fix=f"set it to {tower.heads}",
            )
        return FeatureRequest(tokens=frozenset({tower.depth - 1}))

    def output_dim(self, tower: TowerShape) -> int:
        """The tower's width."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "AttentiveProbe":
        """The probe, initialised from torch's current generator."""
        from side4video.models.networks.attentive import AttentiveProbe

        return AttentiveProbe(
            tap=tower.shape.depth - 1,
            width=tower.shape.width,
            frames=frames,
            queries=self.queries,
            layers=self.layers,
            heads=tower.shape.heads if self.heads == "tower" else self.heads,
            mlp_ratio=self.mlp_ratio,
            temporal_positions=self.temporal_positions,
        )

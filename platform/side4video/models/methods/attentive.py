"""The attentive probe (after V-JEPA: Bardes et al., 2024, arXiv 2404.08471): learned queries read the last block.

All T·S tokens of the clip, class tokens and registers too, pass one layer norm. Every layer is a cross-attention of the
learned queries, normalised, over the tokens, then a pre-norm MLP, both with a residual connection. The feature is the
mean of the queries after the last layer. V-JEPA's probe has one query, one layer, and weights from a truncated N(0,
0.02). Different here: the norm on the queries; more layers read the same frozen tokens again (V-JEPA 2 puts
self-attention layers first); and one learned embedding per frame, zero at first, is added to the normalised tokens.
Without the embedding, the feature does not depend on the order of frames.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.core.bounds import Few, Layers, Ratio
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_heads

if TYPE_CHECKING:
    from side4video.models.networks.attentive import AttentiveProbe
    from side4video.models.towers.frozen_tower import FrozenTower


class AttentiveSpec(MethodSpec):
    """An attentive probe on the frozen tokens of the last block."""

    reads_clip_towers: ClassVar[bool] = True
    kind: Literal["attentive"] = "attentive"
    queries: Few = 1
    """Learned queries (V-JEPA: 1); their mean is the feature."""
    layers: Layers = 1
    """Layers of cross-attention (V-JEPA: 1)."""
    heads: Few | Literal["tower"] = "tower"
    """Attention heads; `tower`: as many as the tower has (12 for ViT-B, V-JEPA's number; 16 for ViT-L)."""
    mlp_ratio: Ratio = 4
    """Hidden width of the MLP over the tower's (V-JEPA: 4)."""
    temporal_positions: bool = True
    """One learned embedding per frame, zero at first. Without it the feature does not depend on the order of frames."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last block.

        Raises:
            PydanticCustomError: The tower's width is not divisible by the heads.
        """
        check_heads(self.heads, tower)
        return FeatureRequest(tokens=frozenset({tower.depth - 1}))

    def build(self, tower: "FrozenTower", *, frames: int) -> "AttentiveProbe":
        """The probe, initialised from torch's current generator."""
        from side4video.models.networks.attentive import AttentiveProbe

        return AttentiveProbe(
            tap=tower.shape.depth - 1,
            width=tower.shape.width,
            frames=tower.shape.time_steps(frames),
            queries=self.queries,
            layers=self.layers,
            heads=tower.shape.heads if self.heads == "tower" else self.heads,
            mlp_ratio=self.mlp_ratio,
            temporal_positions=self.temporal_positions,
        )

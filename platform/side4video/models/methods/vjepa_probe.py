"""The attentive probe of V-JEPA 2's evaluation (Assran et al., 2025, arXiv 2506.09985), four blocks deep.

The tokens of the last block pass the tower's final norm, which stays frozen; no positions are added. Three pre-norm
blocks of self-attention and MLP work on all tokens of the clip. In the last block a learned query, not normalised,
attends to the normalised tokens, without an output projection, and passes an MLP. The feature is that query.

On frames, the tokens of all frames are read, class tokens and registers too. Without positions over time, a tower that
reads frames gives a feature that does not depend on their order; `attentive` adds positions.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.core.bounds import Few, Layers, Ratio
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_heads

if TYPE_CHECKING:
    from side4video.models.networks.vjepa_probe import VJEPAProbe
    from side4video.models.towers.frozen_tower import FrozenTower


class VJEPAProbeSpec(MethodSpec):
    """V-JEPA 2's attentive probe on the frozen tokens of the last block."""

    reads_clip_towers: ClassVar[bool] = True
    kind: Literal["v-jepa-2-probe"] = "v-jepa-2-probe"
    layers: Layers = 4
    """Blocks: all but the last are of self-attention (V-JEPA 2: 4)."""
    heads: Few | Literal["tower"] = "tower"
    """Attention heads; `tower`: as many as the tower has (16 for ViT-L, V-JEPA 2's number)."""
    mlp_ratio: Ratio = 4
    """Hidden width of an MLP over the tower's (V-JEPA 2: 4)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last block.

        Raises:
            PydanticCustomError: The tower's width is not divisible by the heads.
        """
        check_heads(self.heads, tower)
        return FeatureRequest(tokens=frozenset({tower.depth - 1}))

    def build(self, tower: "FrozenTower", *, frames: int) -> "VJEPAProbe":
        """The probe, initialised from torch's current generator."""
        from side4video.models.networks.vjepa_probe import VJEPAProbe

        return VJEPAProbe(
            tower,
            steps=tower.shape.time_steps(frames),
            layers=self.layers,
            heads=tower.shape.heads if self.heads == "tower" else self.heads,
            mlp_ratio=self.mlp_ratio,
        )

"""DiST (Qing et al., 2023, arXiv 2309.07911): disentangled spatial and temporal learning beside a frozen tower.

The tower sees every `alpha`-th frame and gives the content; a thin convolutional branch sees every frame and gives
the motion; an integration branch between them joins both, block by block. No gradient enters the tower. Two layers of
attention make one feature of it all, in the space that CLIP's text tower shares, so its natural classifier is made of
the names of the classes: `task: {classifier: {kind: text}}`.
"""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import PositiveInt, model_validator

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.dist import DiST
    from side4video.models.towers.frozen_tower import FrozenTower

HEAD_WIDTH = 64


class DiSTSpec(MethodSpec):
    """A temporal and an integration branch over all blocks of the tower."""

    kind: Literal["dist"] = "dist"
    alpha: PositiveInt = 2
    """The tower sees one frame of so many (section 3: sparse and dense frames). The paper's "8+16" is `data.frames: 16`
    and an alpha of 2."""
    dim: PositiveInt = 384
    """Channels of the integration branch, a multiple of 64, the width of an attention head (authors: 384)."""
    temporal_dim: PositiveInt = 96
    """Channels of the temporal branch (authors: 96)."""
    pooling_layers: PositiveInt = 2
    """Layers of attention that make one feature of all tokens (authors: 2 on Something-Something V2, 4 on
    Kinetics-400)."""

    @model_validator(mode="after")
    def dim_divides_into_heads(self) -> Self:
        """`dim` must be a multiple of the attention head's width."""
        if self.dim % HEAD_WIDTH:
            nearest = max(1, round(self.dim / HEAD_WIDTH)) * HEAD_WIDTH
            raise ValueError(
                f"dim {self.dim} is not divisible by the attention head width · "
                f"allowed: multiples of {HEAD_WIDTH} · fix: use {nearest}"
            )
        return self

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """The tokens of every block, of every `alpha`-th frame."""
        if frames % self.alpha:
            nearest = max(1, round(frames / self.alpha)) * self.alpha
            raise wrong(
                "data.frames",
                f"{frames} frames, and the tower sees one of {self.alpha} (method.alpha)",
                allowed=f"multiples of {self.alpha}",
                fix=f"set data.frames to {nearest}",
            )
        return FeatureRequest(tokens=frozenset(range(tower.depth)), every=self.alpha)

    def output_dim(self, tower: TowerShape) -> int:
        """The width of the space that the text tower shares."""
        return tower.output_dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "DiST":
        """The two branches and the pooling, initialised from torch's current generator."""
        from side4video.models.networks.dist import DiST

        return DiST(
            tower=tower.shape,
            frames=frames,
            alpha=self.alpha,
            dim=self.dim,
            temporal_dim=self.temporal_dim,
            pooling_layers=self.pooling_layers,
        )

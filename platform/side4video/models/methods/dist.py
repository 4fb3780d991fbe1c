"""DiST (Qing et al., 2023, arXiv 2309.07911): disentangled spatial and temporal learning beside a frozen tower.

The tower sees every `alpha`-th frame; a narrow convolutional branch sees every frame; an integration branch joins both,
block by block. No gradient enters the tower. Layers of attention pool the tokens to one feature in the space of CLIP's
text tower, so the classes' names can be the classifier: `task: {classifier: {kind: text}}`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from side4video.core.bounds import Layers, Ratio, Width
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, recipe

if TYPE_CHECKING:
    from side4video.models.networks.dist import DiST
    from side4video.models.towers.frozen_tower import FrozenTower

HEAD_WIDTH = 64


class DiSTSpec(MethodSpec):
    """A temporal and an integration branch over all blocks of the tower (DiST).

    The recipe `dist-ssv2` is the authors' with three differences. Their warm-up starts at 8e-8, here at zero. They do
    not decay learned tokens; here those of two dimensions (positions) shrink with the matrices, by less than a
    thousandth over the whole training. Their colour jitter is not available; their mixup and CutMix are
    `data.augmentation.mix`.
    """

    needs_class_token: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dist-ssv2": recipe(3.2e-4, 256, epochs=36, warmup_epochs=6)
        | {"weight_decay": 1e-4, "weight_decay_on": "matrices"}
    }
    kind: Literal["dist"] = "dist"
    alpha: Ratio = 2
    """The tower sees every `alpha`-th frame (section 3: sparse and dense frames). The paper's "8+16" is
    `data.frames: 16` with an alpha of 2."""
    dim: Width = 384
    """Channels of the integration branch, a multiple of 64, the width of an attention head (authors: 384)."""
    temporal_dim: Width = 96
    """Channels of the temporal branch (authors: 96)."""
    pooling_layers: Layers = 2
    """Layers of attention that pool all tokens to one feature (authors: 2 on Something-Something V2, 4 on
    Kinetics-400)."""

    @model_validator(mode="after")
    def dim_divisible_by_heads(self) -> Self:
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

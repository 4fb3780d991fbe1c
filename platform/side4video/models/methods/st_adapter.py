"""ST-Adapter (Pan et al., 2022, arXiv 2206.13559): bottlenecks with a convolution over time inside a frozen tower.

Each adapter changes the residual stream itself, at the patches and never at [CLS]. It starts as nothing: a new
student computes what the frozen tower does.

In the last block the adapter in front of the MLP trains nothing: what it changes are patches, an MLP mixes no
tokens, and the head reads [CLS]. The authors have it and count it, and so it is here.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.st_adapter import STAdapter
    from side4video.models.towers.frozen_tower import FrozenTower


class STAdapterSpec(MethodSpec):
    """Adapters that mix over time, inside the tower (ST-Adapter).

    The authors draw the head from N(0, 0.02); here the task's head starts as every other method's does.
    """

    packable: ClassVar[bool] = False

    kind: Literal["st-adapter"] = "st-adapter"
    positions: Literal["pre-mlp", "both"] = "pre-mlp"
    """In front of each block's MLP (the authors' Kinetics recipe, and the row of Table 2 in Side4Video), or in front
    of attention and of the MLP (their Something-Something recipe)."""
    dim: PositiveInt = 384
    """Channels of the bottleneck (the authors: 384). The convolution's kernel is 3 frames."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """On the features (the authors' code)."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: it runs the tower itself."""
        return FeatureRequest()

    def output_dim(self, tower: TowerShape) -> int:
        """The tower's width."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "STAdapter":  # noqa: ARG002
        """The adapters, around a borrowed tower."""
        from side4video.models.networks.st_adapter import STAdapter

        return STAdapter(tower, dim=self.dim, positions=self.positions, dropout=self.dropout)

"""EVL (Lin et al., 2022, arXiv 2208.03550): a transformer decoder beside a frozen tower.

One query walks through the last blocks of the tower, and at each attends to all tokens of all frames of that block,
which were given a sense of time before: a convolution over frames, positions, and a lookup by where the tower's own
queries and keys find a patch again in the neighbouring frames. No gradient enters the tower.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.evl import EVL
    from side4video.models.towers.frozen_tower import FrozenTower


class EVLSpec(MethodSpec):
    """A decoder of `layers` blocks on the last blocks of the tower.

    The authors' dropout of 0.5 before the classifier is the task's: `task: {dropout: 0.5}`. The norm in front of it
    is the network's.
    """

    kind: Literal["evl"] = "evl"
    layers: PositiveInt = 12
    """Decoder layers, one on each of the last blocks of the tower (authors: 4 on Kinetics-400, 12 of ViT-B/16's 12 on
    Something-Something V2)."""
    mlp_ratio: PositiveInt = 4
    """Hidden width of a decoder layer's MLP over the tower's width."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Inside the MLPs, after the activation (the authors' code)."""
    temporal_convolution: bool = True
    """Whether tokens are mixed with those of the neighbouring frames, channel by channel (section 3.3)."""
    temporal_positions: bool = True
    """Whether tokens learn which frame they are of (section 3.3)."""
    temporal_attention: bool = True
    """Whether tokens learn, from the tower's queries and keys, how patches move between frames (section 3.3)."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The last `layers` blocks.

        Raises:
            PydanticCustomError: If the tower has fewer.
        """
        if self.layers > tower.depth:
            raise wrong(
                "method.layers",
                f"layers {self.layers} is more than the backbone's {tower.depth} blocks",
                allowed=f"1 to {tower.depth}",
                fix=f"set layers to {tower.depth} or take a deeper backbone",
            )
        return tuple(range(tower.depth - self.layers, tower.depth))

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last blocks, and their queries and keys."""
        taps = frozenset(self.taps(tower))
        if self.temporal_attention and not tower.plain_attention:
            raise wrong(
                "method.kind",
                "evl reads queries and keys, and this backbone's attention does not give them",
                allowed="CLIP's towers (ViT-...), not EVA-CLIP's",
                fix="take a ViT backbone, or set method.temporal_attention to false",
            )
        return FeatureRequest(tokens=taps, attention=taps if self.temporal_attention else frozenset())

    def output_dim(self, tower: TowerShape) -> int:
        """The tower's width."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "EVL":
        """The decoder, initialised from torch's current generator."""
        from side4video.models.networks.evl import EVL

        switches = {
            "convolution": self.temporal_convolution,
            "positions": self.temporal_positions,
            "attention": self.temporal_attention,
        }
        return EVL(
            tower=tower.shape,
            taps=self.taps(tower.shape),
            frames=frames,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
            temporal=frozenset(name for name, is_on in switches.items() if is_on),
        )

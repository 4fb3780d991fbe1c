"""EVL (Lin et al., 2022, arXiv 2208.03550): a transformer decoder beside a frozen tower.

One query attends, block by block, to all tokens of all frames of the tower's last blocks. Temporal features are added
to the tokens first: a convolution over frames, positions, and a table lookup by how far the tower's queries and keys
say that a patch moved between neighbouring frames. No gradient enters the tower.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from side4video.core.bounds import Layers, Ratio
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_layers

if TYPE_CHECKING:
    from side4video.models.networks.evl import EVL
    from side4video.models.towers.frozen_tower import FrozenTower


def _recipe(steps: int) -> dict[str, Any]:
    return {
        "learning_rate": 4e-4,
        "weight_decay": 0.05,
        "batch_size": 256,
        "length": {"steps": steps},
        "warmup": {"steps": 0},
    }


class EVLSpec(MethodSpec):
    """A decoder of `layers` blocks on the last blocks of the tower.

    For the authors' dropout of 0.5 before the classifier, set `task: {dropout: 0.5}`.

    The recipes `evl-...`: no warm-up, decay of everything. The authors' repository has the one for Kinetics-400; the
    steps on Something-Something V2 come from its maintainer.
    """

    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {"evl-k400": _recipe(50_000), "evl-ssv2": _recipe(30_000)}
    kind: Literal["evl"] = "evl"
    layers: Layers = 12
    """Decoder layers, one on each of the last blocks of the tower (authors: 4 on Kinetics-400, 12 of ViT-B/16's 12 on
    Something-Something V2)."""
    mlp_ratio: Ratio = 4
    """Hidden width of a decoder layer's MLP over the tower's width."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Inside the MLPs, after the activation (the authors' code)."""
    temporal_convolution: bool = True
    """Whether tokens are mixed with those of the neighbouring frames, channel by channel (section 3.3)."""
    temporal_positions: bool = True
    """Whether a learned position of the frame is added to its tokens (section 3.3)."""
    temporal_attention: bool = True
    """Whether motion features from the tower's queries and keys are added to the tokens (section 3.3)."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The last `layers` blocks.

        Raises:
            PydanticCustomError: The tower has fewer.
        """
        check_layers(self.layers, tower)
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

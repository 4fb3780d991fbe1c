"""UniAdapter (Lu et al., 2023, arXiv 2302.06605) on CLIP: one adapter for the same block of both towers.

The paper's model is BLIP (`uniadapter-blip`). CLIP has no cross-modal encoder, so these parts are missing here: the
third up-projection with its norm, the low-rank adapters of keys and values in cross-attention, the frame-aware weights,
and the matching head with its re-ranking. CLIP has no momentum towers, so there is no queue of past features. The rest
is as in the authors' code.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from side4video.core.bounds import Width
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.uniadapter import UniAdapter
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class UniAdapterSpec(MethodSpec):
    """Adapters beside the MLPs of both frozen towers, with one down-projection for both (UniAdapter).

    BLIP's towers have the same width and depth; most of CLIP's do not. Here the norm and the down-projection are as
    wide as the wider tower, and the narrower tower uses their first channels. The last blocks of a deeper tower have
    adapters of their own. For equal towers this is the authors' adapter. The authors train the projections into the
    shared space; here they are frozen.

    The recipe `uniadapter` has a cosine without warm-up, and decay of everything. The authors' batch size for videos is
    not known; it stays 128.
    """

    packable: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "uniadapter": {"learning_rate": 1e-5, "weight_decay": 0.05, "length": {"epochs": 6}, "warmup": {"steps": 0}}
    }
    kind: Literal["uniadapter"] = "uniadapter"
    dim: Width = 512
    """Channels of the bottleneck (the authors: 512, and 128 for the small model)."""
    scale: PositiveFloat = 0.1
    """Scale of an adapter's output (the authors: 0.1)."""

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "UniAdapter":  # noqa: ARG002
        """Adapters in the image tower and in the text tower."""
        from side4video.models.networks.uniadapter import UniAdapter

        return UniAdapter(tower, text, dim=self.dim, scale=self.scale)

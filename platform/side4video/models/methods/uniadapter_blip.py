"""UniAdapter (Lu et al., 2023, arXiv 2302.06605) on BLIP: one adapter for frames, texts and pairs.

What is not here: the frame-aware weights of keys, which the authors' files switch off.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import PositiveFloat

from side4video.core.bounds import Width
from side4video.models.backbones.blip import BLIP_WORDS
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.contract import RetrievalNetwork
    from side4video.models.towers.blip_text import BlipTextTower
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class UniAdapterBLIPSpec(MethodSpec):
    """One adapter per block for the frozen image encoder, the frozen text encoder, and pairs (UniAdapter).

    It needs `backbone: {kind: blip, ...}` and `task.matching: {kind: image-text-matching}`. Adapters, both projections
    and the head for pairs are trained. The recipe `uniadapter` is the authors' for images; theirs for videos is not
    published.
    """

    packable: ClassVar[bool] = False
    needs_cross_attention: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    kind: Literal["uniadapter-blip"] = "uniadapter-blip"
    dim: Width = 512
    """Channels of the bottleneck (the authors: 512, and 128 for the small model)."""
    scale: PositiveFloat = 0.1
    """Scale of an adapter's output (the authors: 0.1)."""
    rank: Width = 64
    """Channels of the bottleneck of what is added to keys and values (the authors: 64)."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """See `MethodSpec`."""
        return ("image-text-matching",)

    @property
    def most_words(self) -> int:
        """See `MethodSpec`."""
        return BLIP_WORDS

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "RetrievalNetwork":  # noqa: ARG002
        """Adapters in the image encoder and in the text encoder."""
        from side4video.models.networks.uniadapter_blip import UniAdapterBLIP

        return UniAdapterBLIP(tower, cast("BlipTextTower", text), dim=self.dim, scale=self.scale, rank=self.rank)

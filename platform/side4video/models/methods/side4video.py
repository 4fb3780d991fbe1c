"""Side4Video (Yao, Wu and Li, 2023): a spatial-temporal side network beside a frozen tower.

Each side block takes the output of one tower block through a projection, adds it to its own stream, and then
mixes over time (depthwise separable convolution), over space (attention that also sees the tower's [CLS] token
shifted by a frame) and over channels (MLP). No gradient enters the tower.
"""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.method import MethodSpec
from side4video.models.reads import Reads

if TYPE_CHECKING:
    from side4video.models.networks.side4video import Side4Video
    from side4video.models.towers.frozen_tower import FrozenTower

HEAD_WIDTH = 64


class Side4VideoSpec(MethodSpec):
    """A side network of `layers` blocks, `dim` channels wide.

    Where the paper is silent (the norms after the stem and before pooling, the spatial embedding, the initial
    values), both presets do what the authors' code does: the paper's figures were computed with it, and its
    Table 2 parameter counts are reached with it.
    """

    PRESETS: ClassVar = {
        "preset": {
            "paper": {"mixing": "add"},
            "authors": {"mixing": "mean"},
        },
        "size": {
            "vitb16-light": {"layers": 6, "dim": 192},
            "vitb16": {"layers": 12, "dim": 320},
            "vitl14-light": {"layers": 12, "dim": 320},
            "vitl14": {"layers": 24, "dim": 512},
            "vite14-light": {"layers": 32, "dim": 576},
        },
    }

    kind: Literal["side4video"] = "side4video"
    preset: Literal["paper", "authors"] = "paper"
    """`paper`: the paper's equations; `authors`: what the released code computes. Sets `mixing`."""
    size: Literal["custom", "vitb16-light", "vitb16", "vitl14-light", "vitl14", "vite14-light"] = "custom"
    """A row of the paper's Table 1: sets `layers` and `dim`."""
    layers: PositiveInt = 12
    """Side blocks, at most as many as the tower has (Table 1: 12 for ViT-B/16)."""
    dim: PositiveInt = 320
    """Channels of the side network, a multiple of 64, the width of an attention head (Table 1: 320 for ViT-B/16)."""
    fusion: Literal["interval", "top"] = "interval"
    """Which tower blocks are read (section 4.5): evenly spaced and ending with the last, or the last `layers`."""
    mixing: Literal["add", "mean"] = "add"
    """Side stream and tower tokens: their sum (eq. 2), or half of each (the authors' code)."""
    cls_shift: bool = True
    """Whether spatial attention sees the tower's [CLS] token shifted over time (section 3.3, Table 9c)."""
    stem_norm: Literal["batch", "none"] = "batch"
    """The norm after the 3-D patch embedding; in the authors' code, not in the paper."""
    spatial_embedding: Literal["shared", "none"] = "shared"
    """One learned table for all blocks and frames, added inside attention; in the authors' code, not in the paper."""
    final_norm: Literal["batch", "none"] = "batch"
    """The norm before global average pooling; in the authors' code, not in the paper."""
    mlp_ratio: PositiveInt = 4
    """Hidden width of the MLP over `dim` (the authors' code; unspecified in the paper)."""

    @model_validator(mode="after")
    def dim_divides_into_heads(self) -> Self:
        """`dim` must be a multiple of the attention head's width."""
        if self.dim % HEAD_WIDTH:
            lower = max(HEAD_WIDTH, self.dim // HEAD_WIDTH * HEAD_WIDTH)
            upper = -(-self.dim // HEAD_WIDTH) * HEAD_WIDTH
            nearest = f"{lower} or {upper}" if lower != upper else f"{upper}"
            raise ValueError(
                f"dim {self.dim} is not divisible by the attention head width · "
                f"allowed: multiples of {HEAD_WIDTH} · fix: use {nearest}"
            )
        return self

    @model_validator(mode="after")
    def size_agrees_with_layers_and_dim(self) -> Self:
        """A named size cannot be changed in part: then it is not that row of Table 1 any more."""
        row = self.PRESETS["size"].get(self.size)
        if row and (self.layers, self.dim) != (row["layers"], row["dim"]):
            raise ValueError(
                f"size {self.size} means {row['layers']} layers of {row['dim']}, found {self.layers} of {self.dim} · "
                f"allowed: the size alone, or layers and dim without it · fix: remove `size` (or use `size: custom`)"
            )
        return self

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower blocks read, by `fusion`: for 6 of 12, `interval` is 1, 3, 5, 7, 9, 11 and `top` 6 to 11.

        Raises:
            ValueError: If the side network has more blocks than the tower.
        """
        if self.layers > tower.depth:
            raise wrong(
                "method.layers",
                f"layers {self.layers} is more than the backbone's {tower.depth} blocks",
                allowed=f"1 to {tower.depth}",
                fix=f"set layers to {tower.depth} or take a deeper backbone",
            )
        if self.fusion == "top":
            return tuple(range(tower.depth - self.layers, tower.depth))
        return tuple((layer + 1) * tower.depth // self.layers - 1 for layer in range(self.layers))

    def reads(self, tower: TowerShape, *, frames: int) -> Reads:  # noqa: ARG002
        """The tokens of its taps."""
        return Reads(tokens=frozenset(self.taps(tower)))

    def build(self, tower: "FrozenTower", *, frames: int) -> "Side4Video":  # noqa: ARG002
        """The side network, initialised from torch's current generator."""
        from side4video.models.networks.side4video import Side4Video

        return Side4Video(
            tower=tower.shape,
            taps=self.taps(tower.shape),
            dim=self.dim,
            mlp_ratio=self.mlp_ratio,
            mixing=self.mixing,
            cls_shift=self.cls_shift,
            extras=frozenset(
                name
                for name, value in (
                    ("stem_norm", self.stem_norm),
                    ("spatial_embedding", self.spatial_embedding),
                    ("final_norm", self.final_norm),
                )
                if value != "none"
            ),
        )

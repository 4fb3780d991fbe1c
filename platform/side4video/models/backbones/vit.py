"""A vision transformer of any size in open_clip's layout.

The blocks are those of CLIP (Radford et al., 2021, arXiv 2103.00020): pre-norm attention and MLP, learned absolute
positions, a class token first.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from side4video.core.bounds import Layers, Pixels, Width
from side4video.core.errors import InputError
from side4video.models.backbones.backbone_spec import BackboneSpec
from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, TowerShape
from side4video.models.backbones.text import NoTextSpec, TextSide
from side4video.models.backbones.weights import LocalWeights

if TYPE_CHECKING:
    from side4video.models.towers.trunk import Trunk

Mean = Annotated[NonNegativeFloat, Field(le=1)]
Std = Annotated[PositiveFloat, Field(le=1)]


class ViTSpec(BackboneSpec):
    """A vision transformer of any size, with weights from a file or random weights."""

    kind: Literal["vit"] = "vit"
    weights: LocalWeights
    """The source of the weights."""
    image_size: Pixels = 224
    """Side of a frame, pixels."""
    patch_size: Pixels = 16
    """Side of a patch, pixels."""
    width: Width = 768
    """Channels of a token."""
    layers: Layers = 12
    """Blocks."""
    head_width: Width = 64
    """Channels of one attention head."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden channels of the MLP over `width`."""
    output_dim: Width = 512
    """Channels of a projected frame feature."""
    quick_gelu: bool = False
    """Use `x * sigmoid(1.702 x)`, as OpenAI's CLIP, and not the exact GELU."""
    pre_norm: bool = True
    """Normalise the tokens before the first block, as CLIP does and DINOv2 does not."""
    text: TextSide = NoTextSpec()
    """The text tower; its weights have the same source as the image tower's."""
    mean: tuple[Mean, Mean, Mean] = CLIP_MEAN
    """Channel means the tower was trained with, of pixels in 0..1."""
    std: tuple[Std, Std, Std] = CLIP_STD
    """Channel standard deviations the tower was trained with."""

    @model_validator(mode="after")
    def patches_tile_the_image(self) -> Self:
        """`image_size` must be a multiple of `patch_size`."""
        if self.image_size % self.patch_size:
            nearest = max(1, round(self.image_size / self.patch_size)) * self.patch_size
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}; "
                f"fix: set image_size to {nearest}"
            )
        return self

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """`width` must be a multiple of `head_width`."""
        if self.width % self.head_width:
            raise ValueError(
                f"width {self.width} is not a multiple of head_width {self.head_width}; "
                f"fix: set width to {max(1, round(self.width / self.head_width)) * self.head_width}"
            )
        return self

    @property
    def most_words(self) -> int:
        """Maximum number of tokens of a text."""
        return 0 if isinstance(self.text, NoTextSpec) else self.text.words

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch."""
        return TowerShape(
            prefix_tokens=1,
            class_token=0,
            pooling="class-token",
            depth=self.layers,
            width=self.width,
            heads=self.width // self.head_width,
            patch_size=self.patch_size,
            image_size=self.image_size,
            output_dim=self.output_dim,
            mlp_width=int(self.width * self.mlp_ratio),
            quick_gelu=self.quick_gelu,
            mean=self.mean,
            std=self.std,
            post_norm=False,
            layer_norm_epsilon=1e-5,
        )

    def build_trunk(self) -> "Trunk":
        """See `BackboneSpec`."""
        from side4video.models.towers.open_clip_vit import OpenCLIPTrunk

        return OpenCLIPTrunk.on_meta(self.shape(), pre_norm=self.pre_norm)

    def text_config(self) -> dict[str, Any]:
        """See `BackboneSpec`."""
        if isinstance(self.text, NoTextSpec):
            raise InputError(
                "backbone.text", "there is no text tower", allowed="{kind: transformer}", fix="say how large it is"
            )
        return {"embed_dim": self.output_dim, "quick_gelu": self.quick_gelu, "text_cfg": self.text.config()}

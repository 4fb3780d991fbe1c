"""BLIP (Li et al., 2022, arXiv 2201.12086): an image encoder, and a text encoder that can attend to the image's tokens.

The networks are transformers' `BlipForImageTextRetrieval`: ViT-B/16 and a BERT with cross-attention.
"""

from typing import TYPE_CHECKING, Literal, Self, cast

from pydantic import model_validator

from side4video.core.bounds import Layers, Pixels, Width
from side4video.core.errors import InputError
from side4video.core.spec import PathText, wrong
from side4video.models.backbones.backbone_spec import BackboneSpec, check_frame_size
from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, TowerShape
from side4video.models.backbones.weights import PretrainedWeights, Weights

if TYPE_CHECKING:
    from side4video.models.towers.text_tower import TextTower
    from side4video.models.towers.trunk import Trunk

MODEL = "blip-itm-base"
"""The name of the checkpoints on the hub, without the data that they were trained on."""
REPOSITORIES = {"coco": "Salesforce/blip-itm-base-coco", "flickr": "Salesforce/blip-itm-base-flickr"}
"""On the Hugging Face hub, by tag."""
BLIP_WORDS = 512
"""Positions of the text encoder."""
VOCABULARY = 30_524
"""Size of the vocabulary: BERT's, and two tokens for the decoder and for texts that attend to an image."""


class BlipSpec(BackboneSpec):
    """BLIP for retrieval, for the method `uniadapter-blip`. It needs `pip install 'side4video[transformers]'`."""

    kind: Literal["blip"] = "blip"
    weights: Weights
    """The source of the weights: the hub's (tags `coco` and `flickr`), a file in transformers' layout of
    `BlipForImageTextRetrieval`, or random numbers."""
    image_size: Pixels = 224
    """Side of a frame, pixels: a multiple of the patch size. Positions of another size are resized when the weights
    are read: bicubic, as the authors do."""
    patch_size: Pixels = 16
    """Side of a patch, pixels."""
    width: Width = 768
    """Channels of a token, in both encoders."""
    layers: Layers = 12
    """Blocks of each encoder."""
    head_width: Width = 64
    """Channels of one attention head."""
    output_dim: Width = 256
    """Channels of the space that images and texts share."""
    tokenizer: PathText = ""
    """A folder with the files of BERT's tokenizer. Empty: `bert-base-uncased` is downloaded from the Hugging Face hub,
    or taken from its cache."""

    @model_validator(mode="after")
    def patches_tile_the_frame(self) -> Self:
        """`image_size` is a multiple of the patch size."""
        check_frame_size(self.image_size, self.patch_size, "BLIP")
        return self

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """`width` must be a multiple of `head_width`."""
        if self.width % self.head_width:
            raise wrong(
                "backbone.width",
                f"{self.width}, which is not a multiple of head_width {self.head_width}",
                allowed=f"multiples of {self.head_width}",
                fix=f"set it to {max(1, round(self.width / self.head_width)) * self.head_width}",
            )
        return self

    @model_validator(mode="after")
    def tag_is_one_of_the_hub(self) -> Self:
        """Pretrained weights are named by the data that they were trained on."""
        if isinstance(self.weights, PretrainedWeights) and self.weights.tag not in REPOSITORIES:
            raise wrong(
                "backbone.weights.tag", repr(self.weights.tag), allowed=", ".join(REPOSITORIES), fix="set it to coco"
            )
        return self

    @property
    def most_words(self) -> int:
        """See `BackboneSpec`."""
        return BLIP_WORDS

    @property
    def has_causal_texts(self) -> bool:
        """See `BackboneSpec`."""
        return False

    @property
    def has_cross_attention(self) -> bool:
        """See `BackboneSpec`."""
        return True

    @property
    def library_model(self) -> str:
        """See `BackboneSpec`."""
        return MODEL

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
            mlp_width=4 * self.width,
            quick_gelu=False,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            post_norm=False,
            plain_attention=False,
            layer_norm_epsilon=1e-6,
        )

    def build_trunk(self) -> "Trunk":
        """See `BackboneSpec`.

        Raises:
            InputError: transformers is not installed.
        """
        try:
            from side4video.models.towers.blip_trunk import BlipTrunk
        except ModuleNotFoundError as error:
            raise _not_installed(error) from error
        return BlipTrunk(self.shape())

    def build_text_tower(self, device: str = "cpu") -> "TextTower":
        """The text encoder, its projection and the head for pairs, in the place of a text tower.

        Raises:
            InputError: transformers is not installed, or the weights are another model's.
        """
        try:
            from side4video.models.towers.blip_text import load_blip_text
        except ModuleNotFoundError as error:
            raise _not_installed(error) from error
        # The method `uniadapter-blip` alone takes it.
        text = load_blip_text(self.shape(), weights=self.weights, model=MODEL, tokenizer=self.tokenizer, device=device)
        return cast("TextTower", text)


def _not_installed(error: ModuleNotFoundError) -> InputError:
    return InputError(
        "backbone.kind",
        f"blip is a network of transformers, and {error.name} is not installed",
        fix="pip install 'side4video[transformers]'",
    )

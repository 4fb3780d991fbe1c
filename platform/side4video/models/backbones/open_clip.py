"""The image towers of open_clip's models: CLIP, EVA-CLIP, SigLIP, PE-Core, MetaCLIP 2 and others, with their texts.

CLIP: Radford et al., 2021, arXiv 2103.00020. EVA-CLIP: Sun et al., 2023, arXiv 2303.15389. SigLIP 2: Tschannen et al.,
2025, arXiv 2502.14786. The sizes come from open_clip's model configurations; those of towers that open_clip takes from
timm come from `timm_models`. Which models there are, and why others are refused, is in `open_clip_models.json`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from side4video.core.bounds import Pixels
from side4video.core.spec import ADDED_LATER, PathText
from side4video.models.backbones.backbone_spec import BackboneSpec, check_frame_size, check_model
from side4video.models.backbones.open_clip_models import (
    OpenCLIPModel,
    open_clip_models,
    open_clip_version,
    read_config,
    refused_models,
)
from side4video.models.backbones.shape import Pooling, TowerShape
from side4video.models.backbones.timm_models import timm_models
from side4video.models.backbones.weights import PretrainedWeights, Weights

if TYPE_CHECKING:
    from side4video.models.towers.trunk import Trunk

_POOLINGS: dict[str, Pooling] = {"tok": "class-token", "token": "class-token", "avg": "mean", "map": "attention"}
"""By open_clip's names, and timm's."""

_MANY_LANGUAGES = ("SigLIP2", "i18n", "worldwide")


class OpenCLIPSpec(BackboneSpec):
    """The image tower of a model of open_clip, and its text tower."""

    kind: Literal["open-clip"] = "open-clip"
    model: str = Field(min_length=1, examples=["ViT-B-16", "ViT-B-16-SigLIP2", "PE-Core-B-16", "EVA02-L-14"])
    """open_clip's name of the model; `docs/towers.md` says which there are. OpenAI's weights need a name that ends in
    `-quickgelu`."""
    weights: Weights
    """The source of the weights. With a file, frames are normalised as for the model's first weights in open_clip."""
    image_size: Annotated[Pixels | None, ADDED_LATER] = None
    """Side of a frame, pixels: a multiple of the patch size. Default: the model's own. Positions of another size are
    resized when the weights are read, as open_clip and timm do: bicubic, with antialiasing."""
    tokenizer: Annotated[PathText, ADDED_LATER] = ""
    """For texts of SigLIP, CLIPA and MetaCLIP 2: a folder with the files of the model's tokenizer. Empty: the tokenizer
    is downloaded from the Hugging Face hub, or taken from its cache. CLIP's own tokenizer comes with open_clip."""

    @field_validator("model")
    @classmethod
    def model_can_be_walked(cls, model: str) -> str:
        """The model is one of open_clip, and the blocks of its image tower can be walked."""
        check_model(
            model,
            open_clip_models(),
            refused_models(),
            library=f"open_clip {open_clip_version()}",
            listed_by="open_clip.list_models",
            allowed="models with a vision transformer",
        )
        return model

    @model_validator(mode="after")
    def weights_were_trained_with_the_models_activation(self) -> Self:
        """Weights trained with QuickGELU (OpenAI's) need a model with QuickGELU, others a model with GELU."""
        if isinstance(self.weights, PretrainedWeights):
            ends_so = self.model.endswith("-quickgelu")
            twin = self.model.removesuffix("-quickgelu") if ends_so else f"{self.model}-quickgelu"
            if twin in open_clip_models() and self.weights.tag in open_clip_models()[twin].weights:
                ours, theirs = ("QuickGELU", "GELU") if ends_so else ("GELU", "QuickGELU")
                raise ValueError(
                    f"the weights '{self.weights.tag}' were trained with {theirs}, and {self.model} computes {ours}; "
                    f"fix: model: {twin}"
                )
        return self

    @model_validator(mode="after")
    def tag_is_one_of_the_model(self) -> Self:
        """The tag must be one that open_clip has for this model."""
        if isinstance(self.weights, PretrainedWeights) and self.weights.tag not in self._model.weights:
            allowed = ", ".join(self._model.weights) or "none, use a file"
            raise ValueError(f"open_clip has no weights '{self.weights.tag}' for {self.model}; allowed: {allowed}")
        return self

    @model_validator(mode="after")
    def patches_tile_the_frame(self) -> Self:
        """A given `image_size` is a multiple of the patch size."""
        if self.image_size is not None:
            check_frame_size(self.image_size, self.shape().patch_size, self.model)
        return self

    @property
    def reads_other_languages(self) -> bool:
        """Whether the model was trained on texts of many languages: SigLIP 2, `i18n`, and MetaCLIP 2's `worldwide`."""
        return any(part in self.model for part in _MANY_LANGUAGES)

    @property
    def most_words(self) -> int:
        """See `BackboneSpec`."""
        return 0 if self.without_texts else read_config(self.model)["text_cfg"].get("context_length", 77)

    @property
    def exact_words(self) -> int:
        """See `BackboneSpec`."""
        return self.most_words if read_config(self.model)["text_cfg"].get("pool_type") == "last" else 0

    @property
    def has_causal_texts(self) -> bool:
        """See `BackboneSpec`."""
        return not read_config(self.model)["text_cfg"].get("no_causal_mask", False)

    @property
    def without_texts(self) -> str:
        """See `BackboneSpec`."""
        return self._model.without_texts

    def text_config(self) -> dict[str, Any]:
        """See `BackboneSpec`."""
        config = read_config(self.model)
        return {**config, "tokenizer": self.tokenizer} if self.tokenizer else config

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch.

        Raises:
            InputError: open_clip is not installed, or does not know the model.
        """
        config = read_config(self.model)
        vision = config["vision_cfg"]
        tag = self.weights.tag if isinstance(self.weights, PretrainedWeights) else ""
        mean, std = self._model.normalisation(tag)
        common: dict[str, Any] = {
            "image_size": self.image_size or vision.get("image_size", 224),
            "output_dim": config["embed_dim"],
            "mean": mean,
            "std": std,
        }
        if timm_name := vision.get("timm_model_name"):
            return replace(timm_models()[timm_name].shape, pooling=_POOLINGS[vision["timm_pool"]], **common)
        width = vision.get("width", 768)
        return TowerShape(
            prefix_tokens=1,
            class_token=0,
            pooling=_POOLINGS[vision.get("pool_type", "tok")],
            depth=vision.get("layers", 12),
            width=width,
            heads=width // vision.get("head_width", 64),
            patch_size=vision.get("patch_size", 16),
            mlp_width=int(width * vision.get("mlp_ratio", 4.0)),
            quick_gelu=config.get("quick_gelu", False),
            post_norm=False,
            layer_norm_epsilon=1e-5,
            **common,
        )

    def build_trunk(self) -> "Trunk":
        """See `BackboneSpec`."""
        from side4video.models.towers.open_clip_vit import OpenCLIPTrunk
        from side4video.models.towers.timm_trunk import TimmTrunk

        config = read_config(self.model)
        vision = config["vision_cfg"]
        if "timm_model_name" in vision:
            return TimmTrunk.of_open_clip(vision, config["embed_dim"], self.image_size)
        return OpenCLIPTrunk.on_meta(
            self.shape(),
            pre_norm=not vision.get("no_ln_pre", False),
            layer_scale=vision.get("ls_init_value"),
            resizes_positions=self.image_size is not None,
        )

    @property
    def _model(self) -> OpenCLIPModel:
        return open_clip_models()[self.model]

"""The image towers of CLIP and EVA-CLIP in open_clip.

CLIP: Radford et al., 2021, arXiv 2103.00020. EVA-CLIP: Sun et al., 2023, arXiv 2303.15389. The sizes come from
open_clip's model configurations; those of the EVA towers, which open_clip takes from timm, are in a table here.
"""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from side4video.core.errors import InputError
from side4video.models.backbones.backbone_spec import BackboneSpec
from side4video.models.backbones.pretrained_tags import PRETRAINED_TAGS, normalisation
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.text import CLIP_WORDS
from side4video.models.backbones.weights import PretrainedWeights, Weights

if TYPE_CHECKING:
    from side4video.models.towers.trunk import Trunk

Model = Literal[
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "ViT-B-32-256",
    "ViT-B-16",
    "ViT-B-16-quickgelu",
    "ViT-B-16-plus-240",
    "ViT-L-14",
    "ViT-L-14-quickgelu",
    "ViT-L-14-336",
    "ViT-L-14-336-quickgelu",
    "ViT-H-14",
    "ViT-H-14-quickgelu",
    "ViT-H-14-378",
    "ViT-H-14-378-quickgelu",
    "ViT-g-14",
    "ViT-bigG-14",
    "ViT-bigG-14-quickgelu",
    "EVA01-g-14",
    "EVA01-g-14-plus",
    "EVA02-B-16",
    "EVA02-L-14",
    "EVA02-L-14-336",
    "EVA02-E-14",
    "EVA02-E-14-plus",
]
_EVA: dict[str, dict[str, Any]] = {
    "eva_giant_patch14_224": {"depth": 40, "width": 1408, "heads": 16, "patch_size": 14, "mlp_width": 6144},
    "eva02_base_patch16_clip_224": {"depth": 12, "width": 768, "heads": 12, "patch_size": 16, "mlp_width": 2048},
    "eva02_large_patch14_clip_224": {"depth": 24, "width": 1024, "heads": 16, "patch_size": 14, "mlp_width": 2730},
    "eva02_large_patch14_clip_336": {"depth": 24, "width": 1024, "heads": 16, "patch_size": 14, "mlp_width": 2730},
    "eva02_enormous_patch14_clip_224": {
        "depth": 64,
        "width": 1792,
        "heads": 16,
        "patch_size": 14,
        "mlp_width": 15360,
        "post_norm": True,
    },
}
"""Sizes of the EVA towers by timm's names for them (timm/models/eva.py)."""


class OpenCLIPSpec(BackboneSpec):
    """The image tower of a CLIP or EVA-CLIP model of open_clip."""

    kind: Literal["open-clip"] = "open-clip"
    model: Model
    """open_clip's name of the model. OpenAI's weights need a name that ends in `-quickgelu`."""
    weights: Weights
    """The source of the weights. With a file, frames are normalised with CLIP's values; `kind: vit` takes others."""

    @model_validator(mode="after")
    def weights_were_trained_with_the_models_activation(self) -> Self:
        """Weights trained with QuickGELU (OpenAI's) need a model with QuickGELU, others a model with GELU."""
        if isinstance(self.weights, PretrainedWeights):
            twin = self.model.removesuffix("-quickgelu") if self.has_quick_gelu else f"{self.model}-quickgelu"
            if self.weights.tag in PRETRAINED_TAGS.get(twin, ()):
                ours, theirs = ("QuickGELU", "GELU") if self.has_quick_gelu else ("GELU", "QuickGELU")
                raise ValueError(
                    f"the weights '{self.weights.tag}' were trained with {theirs}, and {self.model} computes {ours}; "
                    f"fix: model: {twin}"
                )
        return self

    @model_validator(mode="after")
    def tag_is_one_of_the_model(self) -> Self:
        """The tag must be one that open_clip has for this model."""
        if isinstance(self.weights, PretrainedWeights) and self.weights.tag not in PRETRAINED_TAGS[self.model]:
            allowed = ", ".join(PRETRAINED_TAGS[self.model]) or "none, use a file"
            raise ValueError(f"open_clip has no weights '{self.weights.tag}' for {self.model}; allowed: {allowed}")
        return self

    @property
    def has_quick_gelu(self) -> bool:
        """Whether the model computes `x * sigmoid(1.702 x)`, according to its name."""
        return self.model.endswith("-quickgelu")

    @property
    def most_words(self) -> int:
        """See `BackboneSpec`."""
        return CLIP_WORDS

    def text_config(self) -> dict[str, Any]:
        """See `BackboneSpec`."""
        return read_config(self.model)

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch.

        Raises:
            InputError: open_clip is not installed, or does not know the model.
        """
        config = read_config(self.model)
        vision = config["vision_cfg"]
        mean, std = normalisation(self.model, self.weights.tag if isinstance(self.weights, PretrainedWeights) else "")
        common: dict[str, Any] = {
            "image_size": vision.get("image_size", 224),
            "output_dim": config["embed_dim"],
            "mean": mean,
            "std": std,
            "prefix_tokens": 1,
            "class_token": 0,
            "pooling": "class-token",
        }
        if timm_name := vision.get("timm_model_name"):
            sizes = {"post_norm": False, "quick_gelu": False, **_EVA[timm_name]}
            return TowerShape(**sizes, layer_norm_epsilon=1e-6, plain_attention=False, **common)
        width = vision.get("width", 768)
        return TowerShape(
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
        from side4video.models.towers.timm_eva import EvaTrunk

        if timm_name := read_config(self.model)["vision_cfg"].get("timm_model_name"):
            return EvaTrunk.on_meta(self.shape(), timm_name)
        return OpenCLIPTrunk.on_meta(self.shape(), pre_norm=True)


@cache
def read_config(model: str) -> dict[str, Any]:
    """open_clip's configuration of a model, read without importing open_clip, which takes seconds."""
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise InputError("backbone.kind", "open_clip is not installed", fix="pip install open_clip_torch")
    path = Path(package.origin).parent / "model_configs" / f"{model}.json"
    if not path.is_file():
        raise InputError(
            "backbone.model", f"the installed open_clip does not know {model}", fix="upgrade open_clip_torch"
        )
    return json.loads(path.read_text(encoding="utf-8"))

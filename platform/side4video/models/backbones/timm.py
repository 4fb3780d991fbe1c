"""Vision transformers of timm: DINOv2 and DINOv3, SigLIP, PE-Core, DeiT III, EVA-02, AIMv2 and others.

The walk through their blocks equals timm's own forward. Which models there are, and why others are refused, is in
`timm_models.json`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from side4video.core.bounds import Pixels
from side4video.core.spec import wrong
from side4video.models.backbones.backbone_spec import BackboneSpec, check_frame_size, check_model
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.timm_models import TimmModel, TimmWeights, refused_models, timm_models, timm_version
from side4video.models.backbones.weights import PretrainedWeights, Weights

if TYPE_CHECKING:
    from side4video.models.towers.trunk import Trunk


class TimmSpec(BackboneSpec):
    """A vision transformer of timm. It has no text tower."""

    kind: Literal["timm"] = "timm"
    model: str = Field(min_length=1)
    """timm's name, such as `vit_small_patch14_reg4_dinov2` or `vit_small_patch14_reg4_dinov2.lvd142m`. The part behind
    the dot names weights; it decides how frames are normalised. Default: timm's first weights of the model.
    `docs/towers.md` says which models there are."""
    weights: Weights
    """The source of the weights: timm's, a file of timm or of the model's authors, or random numbers."""
    image_size: Pixels = 224
    """Side of a frame, pixels: a multiple of the patch size. Learned positions of another size are resized when the
    weights are read, as timm does: bicubic, with antialiasing. Rotary positions are computed for this size."""

    @field_validator("model")
    @classmethod
    def model_can_be_walked(cls, model: str) -> str:
        """The model is one of timm, and its blocks can be walked."""
        name, _, tag = model.partition(".")
        check_model(
            name,
            timm_models(),
            refused_models(),
            library=f"timm {timm_version()}",
            listed_by="timm.list_models",
            allowed="models that can be walked block by block",
        )
        weights = timm_models()[name].weights
        if tag and tag not in weights:
            raise ValueError(f"{model!r} · allowed: {', '.join(f'{name}.{each}' for each in weights)} · fix: name one")
        return model

    @model_validator(mode="after")
    def patches_tile_the_frame(self) -> Self:
        """`image_size` is a multiple of the patch size."""
        check_frame_size(self.image_size, self._model.shape.patch_size, self.model)
        return self

    @model_validator(mode="after")
    def tag_is_one_of_the_model(self) -> Self:
        """The tag of pretrained weights must be one that timm has for this model, and the one behind its name."""
        if isinstance(self.weights, PretrainedWeights):
            tags, named = self._model.weights, self.model.partition(".")[2]
            if self.weights.tag not in tags or named not in ("", self.weights.tag):
                raise wrong(
                    "backbone.weights.tag",
                    f"{self.weights.tag!r}, and the model is {self.model}",
                    allowed=named or ", ".join(tags),
                    fix=f"set it to {named or next(iter(tags))}",
                )
        return self

    @property
    def library_model(self) -> str:
        """See `BackboneSpec`."""
        return self._model.name

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch."""
        weights = self._normalised_as
        return replace(self._model.shape, image_size=self.image_size, mean=weights.mean, std=weights.std)

    def build_trunk(self) -> "Trunk":
        """See `BackboneSpec`."""
        from side4video.models.towers.timm_trunk import TimmTrunk

        return TimmTrunk.on_meta(self._model.name, self.image_size)

    @property
    def _model(self) -> TimmModel:
        return timm_models()[self.model.partition(".")[0]]

    @property
    def _normalised_as(self) -> TimmWeights:
        weights = self._model.weights
        tag = self.weights.tag if isinstance(self.weights, PretrainedWeights) else self.model.partition(".")[2]
        return weights[tag or next(iter(weights))]

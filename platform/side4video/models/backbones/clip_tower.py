"""Networks that read whole clips: V-JEPA 2, VideoMAE, ViViT (transformers) and Video Swin (torchvision).

Their tokens are of several frames each, so only methods that read the clip as a whole can use them: `linear`,
`attentive` and `v-jepa-2-probe` on frozen tokens, `full` to train the network itself.
"""

import difflib
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from side4video.core.bounds import Few, Frames, Layers, Pixels
from side4video.core.spec import ADDED_LATER, wrong
from side4video.models.backbones.backbone_spec import BackboneSpec, check_frame_size
from side4video.models.backbones.clip_models import CLIP_MODELS, OWN_SIZES, ClipModel
from side4video.models.backbones.clip_sizes import ClipSizes, SwinSizes, TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.weights import PretrainedWeights, Weights

if TYPE_CHECKING:
    from side4video.models.towers.trunk import Trunk


class ClipTowerSpec(BackboneSpec):
    """A network that reads whole clips. It has no text tower."""

    kind: Literal["clip-tower"] = "clip-tower"
    model: str = Field(min_length=1)
    """The checkpoint's name, such as `vjepa2-vitl-fpc64-256`, `videomae-base`, `vivit-b-16x2` or `swin3d_b`; with
    `sizes` a family: `vjepa2`, `videomae`, `videomae-finetuned`, `vivit` or `video-swin`. `docs/towers.md` says which
    there are. All but Video Swin need `pip install 'side4video[transformers]'`."""
    weights: Weights
    """The source of the weights: the hub's or torchvision's, a file in their layout, or random numbers."""
    sizes: ClipSizes | None = None
    """The sizes of a network of one's own; None: those of the model."""
    image_size: Pixels | Literal["model"] = "model"
    """Side of a frame, pixels: a multiple of the patch size. `model`: as the model was trained. Positions of V-JEPA 2,
    VideoMAE and Video Swin are computed, or are of windows, so weights fit any size; those of ViViT fit their own."""
    frames: Frames | Literal["model"] = "model"
    """Frames of a clip. `model`: as the model was trained (VideoMAE 16, ViViT 32), or any number that the frames of a
    token divide (V-JEPA 2, Video Swin). Set it where `data.frames` is another number: the positions are for it."""

    window: Annotated[tuple[Few, Few, Few] | Literal["model"], ADDED_LATER] = "model"
    """For models of Video Swin: tokens of an attention window over time, height and width. `model`: as the model was
    trained, [8, 7, 7]; the authors have [16, 7, 7] on Something-Something V2. Weights for another window over time fit:
    an offset in time that their table does not have gets the row of the farthest one that it has. (The authors say that
    the table is repeated, not how.)"""
    drop_path: Annotated[Annotated[float, Field(ge=0, lt=1)] | Literal["model"], ADDED_LATER] = "model"
    """For models of Video Swin that are trained: rate of dropped branches of the last block; it grows linearly from 0.
    `model`: torchvision's 0.1; the authors: 0.1 (T), 0.2 (S), 0.3 (B), and 0.4 on Something-Something V2."""

    variant: Annotated[Literal["joint", "factorised"], ADDED_LATER] = "joint"
    """For the family `vivit`: attention over all tokens of a clip, or the factorised encoder: a spatial encoder of
    `sizes.layers` blocks for each time step, then a temporal one over their class tokens. There, methods that read
    tokens (`attentive`) get the spatial encoder's; `linear` and `full` get the feature of the clip."""
    temporal_layers: Annotated[Layers, ADDED_LATER] = 4
    """Blocks of the temporal encoder (ViViT's authors: 4 on Something-Something V2, 24 on Kinetics)."""

    @field_validator("model")
    @classmethod
    def model_is_known(cls, model: str) -> str:
        """The model is in the table, or a family."""
        if model not in OWN_SIZES and model not in CLIP_MODELS:
            near = ", ".join(difflib.get_close_matches(model, [*CLIP_MODELS, *OWN_SIZES], n=3))
            raise ValueError(
                f"{model!r}, which is no network that reads clips · allowed: {', '.join(CLIP_MODELS)}; with `sizes` "
                f"{', '.join(OWN_SIZES)} · fix: {f'did you mean {near}?' if near else 'take one of these'}"
            )
        return model

    @model_validator(mode="after")
    def a_family_has_sizes(self) -> Self:
        """A family needs `sizes` of its kind; a model has its own."""
        if self.model not in OWN_SIZES:
            if self.sizes is not None:
                raise wrong(
                    "backbone.sizes",
                    f"given, and {self.model} has its own",
                    allowed=f"with backbone.model {', '.join(OWN_SIZES)}",
                    fix=f"set backbone.model to {self._model.family}, or leave sizes out",
                )
            return self
        kind = "swin" if self.model == "video-swin" else "transformer"
        if self.sizes is None or self.sizes.kind != kind:
            raise wrong(
                "backbone.sizes",
                f"{'not given' if self.sizes is None else f'of kind {self.sizes.kind}'}, and {self.model} is a family",
                allowed=f"{{kind: {kind}, width: ..., layers: ..., heads: ...}}",
                fix=f"give its sizes, or name a model: {', '.join(self._models_of_family())}",
            )
        return self

    @model_validator(mode="after")
    def window_and_drop_path_are_of_video_swin(self) -> Self:
        """Only a model of Video Swin has them; a family of it has them in its sizes."""
        for name in ("window", "drop_path"):
            value = getattr(self, name)
            if value == "model":
                continue
            own = self._model.sizes if self.sizes is None else None
            if not isinstance(own, SwinSizes):
                raise wrong(
                    f"backbone.{name}",
                    f"{value}, and the model is {self.model}",
                    allowed="with swin3d_t, swin3d_s and swin3d_b; for `sizes` of Video Swin it is one of them",
                    fix="leave it out",
                )
            # Its own rules, such as the largest window.
            SwinSizes.model_validate({**own.model_dump(), name: value})
        return self

    @model_validator(mode="after")
    def factorised_is_vivits(self) -> Self:
        """Only the family `vivit` has the factorised encoder; the published checkpoint is joint."""
        if self.variant == "factorised" and self.model != "vivit":
            raise wrong(
                "backbone.variant",
                f"factorised, and the model is {self.model}",
                allowed="with backbone.model vivit and its sizes",
                fix="leave it out, or set backbone.model to vivit and give its sizes",
            )
        return self

    @model_validator(mode="after")
    def patches_tile_the_frame(self) -> Self:
        """`image_size` is a multiple of the patch size, and `frames` of the frames of a token."""
        check_frame_size(self._image_size, self._sizes.patch_size, self.model)
        shape = self.shape()
        if self.frames != "model" and self.frames % shape.tubelet_frames:
            raise wrong(
                "backbone.frames",
                f"{self.frames}, and a token of {self.model} is of {shape.tubelet_frames} frames",
                allowed=f"multiples of {shape.tubelet_frames}",
                fix="change it, and data.frames with it",
            )
        return self

    @model_validator(mode="after")
    def tag_is_one_of_the_model(self) -> Self:
        """Pretrained weights are named by a tag of the model."""
        tags = self._model.weights
        if isinstance(self.weights, PretrainedWeights) and self.weights.tag not in tags:
            raise wrong(
                "backbone.weights.tag" if tags else "backbone.weights",
                f"{self.weights.tag!r}, and the model is {self.model}",
                allowed=", ".join(tags) or "{kind: file, path: ...} or {kind: random}",
                fix=f"set it to {next(iter(tags))}" if tags else "name a file, or a model instead of a family",
            )
        return self

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch. Width, heads and grid are those of the last block."""
        model, sizes = self._model, self._sizes
        merges = len(sizes.layers) - 1 if isinstance(sizes, SwinSizes) else 0
        width = sizes.width * 2**merges
        return TowerShape(
            prefix_tokens=0,
            class_token=None,
            pooling="clip",
            depth=sizes.depth,
            width=width,
            heads=sizes.heads if isinstance(sizes, TransformerSizes) else sizes.heads[-1],
            patch_size=sizes.patch_size,
            image_size=self._image_size,
            output_dim=width,
            mlp_width=int(width * sizes.mlp_ratio) if isinstance(sizes, TransformerSizes) else 4 * width,
            quick_gelu=False,
            mean=model.mean,
            std=model.std,
            post_norm=False,
            plain_attention=False,
            layer_norm_epsilon=_EPSILON[model.family],
            tubelet_frames=sizes.tubelet_frames,
            clip_frames=model.frames if self.frames == "model" else self.frames,
            merges=merges,
        )

    def build_trunk(self) -> "Trunk":
        """See `BackboneSpec`.

        Raises:
            InputError: transformers is not installed.
        """
        from side4video.models.towers.clip_trunks import build_clip_trunk

        if self.variant == "factorised" and isinstance(self._sizes, TransformerSizes):
            from side4video.models.towers.vivit_factorised import FactorisedViViTTrunk

            return FactorisedViViTTrunk(self._sizes, self.shape(), temporal_layers=self.temporal_layers)
        return build_clip_trunk(self._model.family, self._sizes, self.shape())

    @property
    def _model(self) -> ClipModel:
        return CLIP_MODELS[self.model] if self.model in CLIP_MODELS else OWN_SIZES[self.model]  # type: ignore[index]

    @property
    def _sizes(self) -> TransformerSizes | SwinSizes:
        if self.sizes is not None:
            return self.sizes
        changes = {name: getattr(self, name) for name in ("window", "drop_path")}
        return self._model.sizes.model_copy(update={name: each for name, each in changes.items() if each != "model"})

    @property
    def _image_size(self) -> int:
        return self._model.image_size if self.image_size == "model" else self.image_size

    def _models_of_family(self) -> list[str]:
        return [name for name, each in CLIP_MODELS.items() if each.family == self.model]


_EPSILON = {"vjepa2": 1e-6, "videomae": 1e-12, "videomae-finetuned": 1e-12, "vivit": 1e-6, "video-swin": 1e-5}

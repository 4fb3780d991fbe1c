"""Side4Video (Yao, Wu and Li, 2023): a spatial-temporal side network beside a frozen tower.

Each side block projects the output of one tower block, adds it to the side stream, and mixes over time (depthwise
separable convolution), over space (attention whose keys include the tower's class token, shifted by a frame) and over
channels (MLP). No gradient enters the tower.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import model_validator

from side4video.core.bounds import FewOrNone, Layers, Ratio, Width
from side4video.core.spec import ADDED_LATER, wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import RETRIEVAL_RECIPE, MethodSpec, check_layers, recipe

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair, SideFrames
    from side4video.models.networks.side4video import Side4Video
    from side4video.models.networks.side_block import Shifted
    from side4video.models.networks.text_space import SideClips
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

HEAD_WIDTH = 64
DIFFERENCE_NEIGHBOURS = 2
"""Raw frames before and after each sampled one that the stem of differences reads (TDS-CLIP)."""


class Side4VideoSpec(MethodSpec):
    """A side network of `layers` blocks, `dim` channels wide.

    The norms after the stem and before pooling, the spatial embedding and the initial values are not in the paper. All
    presets take them from the authors' code, which gives the parameter counts of Table 2.

    Without a class token in the backbone, its pooled feature is shifted, and `representation` must not be `vit-cls`.

    The recipes `k400-...`, `ssv1-...` and `ssv2-...` are columns of Table 12. The recipe `retrieval` is section 4.1 and
    the authors' code: 1e-7 for CLIP's own parameters. Their optimizer has no bias correction (BertAdam), and their
    epoch is a pass over captions, here over videos.
    """

    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "retrieval": RETRIEVAL_RECIPE,
        "k400-vitb16": recipe(1e-3, 256, epochs=30, warmup_epochs=4),
        "k400-vitl14": recipe(1e-4, 256, epochs=30, warmup_epochs=4),
        "k400-vite14": recipe(1e-4, 128, epochs=20, warmup_epochs=4),
        "ssv1-vitb16": recipe(1e-3, 128, epochs=40, warmup_epochs=4),
        "ssv1-vitl14": recipe(1e-4, 128, epochs=30, warmup_epochs=4),
        "ssv1-vite14": recipe(1e-4, 64, epochs=30, warmup_epochs=6),
        "ssv2-vitb16": recipe(1e-3, 128, epochs=30, warmup_epochs=4),
        "ssv2-vitl14": recipe(1e-4, 128, epochs=30, warmup_epochs=4),
        "ssv2-vite14": recipe(1e-4, 64, epochs=25, warmup_epochs=6),
    }
    PRESETS: ClassVar = {
        "preset": {
            "paper": {"mixing": "add"},
            "authors": {"mixing": "mean"},
            "authors-eva": {"mixing": "mean", "norms": "post", "final_norm": "none"},
            "authors-eva-retrieval": {"mixing": "mean", "norms": "post", "final_norm": "batch"},
        },
        "size": {
            "vitb16-light": {"layers": 6, "dim": 192},
            "vitb16": {"layers": 12, "dim": 320},
            "vitl14-light": {"layers": 12, "dim": 320},
            "vitl14": {"layers": 24, "dim": 512},
            "vite14-light": {"layers": 32, "dim": 576},
        },
    }
    tasks: ClassVar[tuple[str, ...]] = ("recognition", "retrieval")
    projects_to_texts: ClassVar[bool] = True
    kind: Literal["side4video"] = "side4video"
    preset: Literal["paper", "authors", "authors-eva", "authors-eva-retrieval"] = "paper"
    """`paper`: the paper's equations; `authors`: what the released code computes on CLIP towers; `authors-eva`: what
    it computes on EVA-CLIP E/14 for recognition; `authors-eva-retrieval`: for retrieval. Sets `mixing`, `norms` and
    `final_norm`."""
    size: Literal["custom", "vitb16-light", "vitb16", "vitl14-light", "vitl14", "vite14-light"] = "custom"
    """A row of the paper's Table 1: sets `layers` and `dim`."""
    layers: Layers = 12
    """Side blocks, at most as many as the tower has (Table 1: 12 for ViT-B/16)."""
    dim: Width = 320
    """Channels of the side network, a multiple of 64, the width of an attention head (Table 1: 320 for ViT-B/16)."""
    fusion: Literal["interval", "top"] | tuple[FewOrNone, ...] = "interval"
    """Which tower blocks are read (section 4.5): `interval`: evenly spaced, the last one included; `top`: the last
    `layers`; or a list of blocks (from 0, ascending), whose length is then `layers`."""
    mixing: Literal["add", "mean", "gate"] = "add"
    """How side stream and tower tokens are combined: their sum (eq. 2), their mean (the authors' code), or a weighted
    mean with one learned weight per block, one half at first (LST's gate)."""
    temporal: Literal["conv", "attention", "none"] = "conv"
    """Temporal mixing (Table 9b): a depthwise separable convolution, attention over the frames of each position, or
    none."""
    temporal_gate: Annotated[Literal["none", "difference"], ADDED_LATER] = "none"
    """`difference`: the temporal convolution is weighed by how far a frame differs from its neighbours, in a sixteenth
    of the channels (TDS-CLIP, a follow-up)."""
    stem: Annotated[Literal["patches", "differences"], ADDED_LATER] = "patches"
    """`differences`: a second stem also reads how the raw frames around each sampled frame differ (TDS-CLIP). It needs
    `data.neighbours: 2`."""
    cls_shift: bool = True
    """Whether a token of the tower, shifted over time, is a key of spatial attention (section 3.3, Table 9c)."""
    shifted_token: Annotated[Literal["auto", "class", "pooled", "mean", "none"], ADDED_LATER] = "auto"
    """Which token is shifted: `class`: the class token of each block that is read (the paper); `pooled`: the tower's
    feature of the frame, the same for all blocks; `mean`: the mean of a block's patches; `none`: none, which is
    `cls_shift: false`. `auto`: `class`, or `pooled` if the backbone has no class token. Registers are never shifted."""
    representation: Literal["gap", "vit-cls", "extra-cls"] = "gap"
    """What represents a clip (Table 9d): `gap`: the mean over all patches (eq. 3); otherwise the mean over time of one
    more token in the stream, fused with the tower's class token (`vit-cls`, which needs a backbone with one) or learned
    (`extra-cls`)."""
    norms: Literal["pre", "post"] = "pre"
    """`pre`: each branch normalises its input (section 3.3); `post`: its output, and the tower's tokens after their
    projection, as in the authors' code for EVA-CLIP."""
    stem_norm: Literal["batch", "none"] = "batch"
    """The norm after the 3-D patch embedding; in the authors' code, not in the paper."""
    spatial_embedding: Literal["shared", "none"] = "shared"
    """One learned table for all blocks and frames, added before attention; in the authors' code, not in the paper."""
    final_norm: Literal["batch", "none"] = "batch"
    """The norm before global average pooling; in the authors' code, not in the paper."""
    mlp_ratio: Ratio = 4
    """Hidden width of the MLP over `dim` (the authors' code; unspecified in the paper)."""
    recompute: Literal["none", "selective", "block"] = "block"
    """What backward recomputes: nothing, the MLPs' hidden channels, or all of a block but its input. It changes memory
    and time; the gradients are the same up to rounding."""

    @model_validator(mode="before")
    @classmethod
    def listed_blocks_say_how_many_layers(cls, document: Any) -> Any:
        """The length of a list of blocks is `layers`, unless `layers` or `size` is given."""
        blocks = document.get("fusion") if isinstance(document, Mapping) else None
        if isinstance(blocks, str) or not isinstance(blocks, Sequence) or {"layers", "size"} & document.keys():
            return document
        return {**document, "layers": max(1, len(blocks))}

    @model_validator(mode="after")
    def listed_blocks_ascend(self) -> Self:
        """Listed blocks must be in ascending order, each once, one per layer."""
        if isinstance(self.fusion, str):
            return self
        if not self.fusion or list(self.fusion) != sorted(set(self.fusion)):
            ordered = sorted(set(self.fusion)) or [0]
            raise ValueError(
                f"fusion {list(self.fusion)} is not a list of blocks in ascending order · "
                f"allowed: each block once, from 0 · fix: use {ordered}"
            )
        if len(self.fusion) != self.layers:
            raise ValueError(
                f"fusion lists {len(self.fusion)} blocks and layers is {self.layers} · "
                f"allowed: one block a layer · fix: remove `layers`, or set it to {len(self.fusion)}"
            )
        return self

    @model_validator(mode="after")
    def dim_divisible_by_heads(self) -> Self:
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
    def the_gate_is_on_a_convolution(self) -> Self:
        """Only the temporal convolution has a gate."""
        if self.temporal_gate != "none" and self.temporal != "conv":
            raise ValueError(
                f"temporal_gate {self.temporal_gate} and temporal {self.temporal} · allowed: with temporal: conv · "
                "fix: set temporal to conv, or temporal_gate to none"
            )
        return self

    @model_validator(mode="after")
    def the_stem_of_differences_has_a_norm(self) -> Self:
        """Both stems have a norm before their sum."""
        if self.stem == "differences" and self.stem_norm == "none":
            raise ValueError(
                "stem differences and stem_norm none · allowed: with stem_norm: batch · fix: set stem_norm to batch"
            )
        return self

    @model_validator(mode="after")
    def shifted_token_agrees_with_cls_shift(self) -> Self:
        """`cls_shift: false` leaves nothing to shift."""
        if not self.cls_shift and self.shifted_token not in ("auto", "none"):
            raise ValueError(
                f"shifted_token {self.shifted_token} beside cls_shift: false · "
                f"allowed: one of both · fix: remove `cls_shift`"
            )
        return self

    @model_validator(mode="after")
    def size_agrees_with_layers_and_dim(self) -> Self:
        """`layers` and `dim` beside a `size` must be those of the size."""
        row = self.PRESETS["size"].get(self.size)
        if row and (self.layers, self.dim) != (row["layers"], row["dim"]):
            raise ValueError(
                f"size {self.size} means {row['layers']} layers of {row['dim']}, found {self.layers} of {self.dim} · "
                f"allowed: the size alone, or layers and dim without it · fix: remove `size` (or use `size: custom`)"
            )
        return self

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower blocks that are read: for 6 of 12, `interval` is 1, 3, 5, 7, 9, 11 and `top` is 6 to 11.

        Raises:
            PydanticCustomError: The tower has fewer blocks.
        """
        check_layers(self.layers, tower)
        if not isinstance(self.fusion, str):
            if self.fusion[-1] >= tower.depth:
                raise wrong(
                    "method.fusion",
                    f"block {self.fusion[-1]} of a backbone of {tower.depth} blocks",
                    allowed=f"0 to {tower.depth - 1}",
                    fix="remove it, or take a deeper backbone",
                )
            return self.fusion
        if self.fusion == "top":
            return tuple(range(tower.depth - self.layers, tower.depth))
        return tuple((layer + 1) * tower.depth // self.layers - 1 for layer in range(self.layers))

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of its taps.

        Raises:
            PydanticCustomError: The tower has fewer blocks, or lacks the class token that an option needs.
        """
        if tower.class_token is None:
            self._check_options_without_class_token()
        neighbours = DIFFERENCE_NEIGHBOURS if self.stem == "differences" else 0
        return FeatureRequest(
            tokens=frozenset(self.taps(tower)), pooled=self.shifts(tower) == "pooled", neighbours=neighbours
        )

    def shifts(self, tower: TowerShape) -> "Shifted | None":
        """The token that is shifted on a tower; None if none is."""
        if self.shifted_token == "none" or not self.cls_shift:
            return None
        if self.shifted_token == "auto":
            return "pooled" if tower.class_token is None else "class"
        return self.shifted_token

    def _check_options_without_class_token(self) -> None:
        if self.cls_shift and self.shifted_token == "class":
            raise wrong(
                "method.shifted_token",
                "class, and this backbone has no class token to shift",
                allowed="auto, pooled, mean, none, or a backbone with a class token",
                fix="set method.shifted_token to pooled",
            )
        if self.representation == "vit-cls":
            raise wrong(
                "method.representation",
                "vit-cls, and this backbone has no class token",
                allowed="gap, extra-cls, or a backbone with a class token",
                fix="set method.representation to gap",
            )

    def output_dim(self, tower: TowerShape) -> int:  # noqa: ARG002
        """`dim`."""
        return self.dim

    def build(self, tower: "FrozenTower", *, frames: int) -> "Side4Video":  # noqa: ARG002
        """The side network, initialised from torch's current generator."""
        return self._network(tower)

    def build_for_texts(self, tower: "FrozenTower", *, frames: int) -> "SideClips":  # noqa: ARG002
        """The side network with the mean of a feature for each frame (eq. 4), as for retrieval."""
        from side4video.models.networks.text_space import SideClips

        return SideClips(self._side_frames(tower), tower)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """The side network with a feature for each frame (eq. 4), and the text tower.

        As in the authors' code for retrieval, the spatial embedding has a row for the shifted class token, and the
        initial values differ from those for recognition, except on EVA-CLIP's tower. Their code has no stream with a
        token of its own; such a stream has the spatial embedding for recognition.
        """
        from side4video.models.networks.pair import Pair

        return Pair(self._side_frames(tower), text, output_dim=tower.shape.output_dim)

    def _side_frames(self, tower: "FrozenTower") -> "SideFrames":
        from side4video.models.networks.pair import SideFrames, initialize_for_retrieval

        is_theirs = self.norms == "pre" and self.representation == "gap"
        side = self._network(tower, embeds_shifted_cls=is_theirs and self.shifts(tower.shape) is not None)
        if self.norms == "pre":
            initialize_for_retrieval(side)
        return SideFrames(side, tower)

    def _network(self, tower: "FrozenTower", *, embeds_shifted_cls: bool = False) -> "Side4Video":
        from side4video.models.networks.side4video import Side4Video

        return Side4Video(
            tower=tower.shape,
            taps=self.taps(tower.shape),
            dim=self.dim,
            mlp_ratio=self.mlp_ratio,
            mixing=self.mixing,
            temporal=self.temporal,
            gates_temporal=self.temporal_gate != "none",
            reads_differences=self.stem == "differences",
            shifted=self.shifts(tower.shape),
            representation=self.representation,
            norms=self.norms,
            recompute=self.recompute,
            extras=frozenset(
                name
                for name, value in (
                    ("stem_norm", self.stem_norm),
                    ("spatial_embedding", self.spatial_embedding),
                    ("final_norm", self.final_norm),
                )
                if value != "none"
            ),
            embeds_shifted_cls=embeds_shifted_cls,
        )

"""What every method declares, before anything is built.

A method that only *reads* frozen tokens can share one pass of the tower with others. A method that *changes* the tower
trains alone.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from side4video.core.spec import Spec, wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING, FeatureRequest

if TYPE_CHECKING:
    from torch import nn

    from side4video.models.networks.contract import Network, RetrievalNetwork
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class MethodSpec(Spec):
    """The document of a method: what is trained beside, or inside, the frozen tower."""

    packable: ClassVar[bool] = True
    """Whether the method only reads frozen tokens."""
    needs_class_token: ClassVar[bool] = False
    """Whether the method, with any options, needs a tower with a class token."""
    reads_clip_towers: ClassVar[bool] = False
    """Whether the method can use a tower that reads whole clips."""
    has_layer_depths: ClassVar[bool] = False
    """Whether the network says how deep its parameters are, for `optimization.layer_decay`."""
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16", "8-bit")
    """Allowed values of `backbone.precision`."""
    tasks: ClassVar[tuple[str, ...]] = ("recognition",)
    """Kinds of the tasks that the method is defined for."""
    classifiers: ClassVar[tuple[str, ...]] = ("linear", "text")
    """For recognition: allowed kinds of `task.classifier`."""
    projects_to_texts: ClassVar[bool] = False
    """For recognition with texts: whether `build_for_texts` exists (`task.classifier.projection: tower`)."""
    trains_text: ClassVar[bool] = True
    """For retrieval: whether the authors train the text tower."""
    needs_causal_texts: ClassVar[bool] = False
    """For retrieval: whether each token of a text must see only those before it."""
    needs_cross_attention: ClassVar[bool] = False
    """Whether the method is for a backbone whose text encoder attends to frames (`blip`), and for no other."""
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Published optimizer settings by name, for `optimization.recipe`."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """For retrieval: allowed kinds of `task.matching`."""
        return ("query-weighted", "mean", "token-wise")

    @property
    def matching_reason(self) -> str:
        """Which field of the method decides `matchings`, for error messages."""
        return f"the method is {self.kind}"  # type: ignore[attr-defined]

    @property
    def matching_fix(self) -> str:
        """A `task.matching` that is allowed, for error messages."""
        return f"{{kind: {self.matchings[-1]}}}"

    @property
    def descriptions(self) -> int:
        """For retrieval: the maximum number of sentences about each video that the network reads; 0 for none."""
        return 0

    @property
    def most_words(self) -> int:
        """For retrieval: the maximum number of tokens of a text; CLIP's text towers have 77 positions."""
        return 77

    def feature_request(self, tower: TowerShape, *, frames: int, task: str) -> FeatureRequest:
        """What the method reads of the tower for a kind of task.

        Raises:
            PydanticCustomError: The tower, or clips of `frames` frames, cannot be used.
        """
        if tower.reads_clips:
            self._check_clip_tower(tower, frames)
        request = (self.frame_request if task == "retrieval" else self.reads)(tower, frames=frames)
        if tower.class_token is None and (self.needs_class_token or request.class_token):
            raise wrong(
                "method.kind",
                f"{self.kind} reads the class token, and this backbone has none",  # type: ignore[attr-defined]
                allowed="a backbone with a class token, such as CLIP's",
                fix="take such a backbone, or another method (linear and attentive work with every backbone)",
            )
        blocks = [each for each in (*request.tokens, *request.attention) if not EMBEDDING <= each < tower.depth]
        if blocks:
            raise wrong(
                "method",
                f"{self.kind} reads block {max(blocks)}, and the backbone has {tower.depth}",  # type: ignore[attr-defined]
                allowed=f"blocks 0 to {tower.depth - 1}",
                fix="take a deeper backbone, or another method",
            )
        return request

    def _check_clip_tower(self, tower: TowerShape, frames: int) -> None:
        if not self.reads_clip_towers:
            raise wrong(
                "method.kind",
                f"{self.kind} works on the tokens of frames, and this backbone reads whole clips",  # type: ignore[attr-defined]
                allowed="for this backbone: linear, attentive, v-jepa-2-probe, gated-recurrence, full",
                fix="take one of these, or a backbone that reads frames",
            )
        tower.check_frames(frames)

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """What the method reads of the tower; nothing, if it runs the tower itself.

        Raises:
            PydanticCustomError: The tower, or clips of `frames` frames, cannot be used: `core.spec.wrong`.
        """
        return FeatureRequest()

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """What the method reads for retrieval: `reads`, and the frames' features if it is packable."""
        request = self.reads(tower, frames=frames)
        return request | frame_feature_request(tower) if self.packable else request

    def output_dim(self, tower: TowerShape) -> int:
        """Width of the features that the network of `build` returns, which is the input width of a task's head."""
        return tower.width

    def build(self, tower: "FrozenTower", *, frames: int) -> "Network":
        """The trainable network for clips of `frames` frames, on torch's current default device.

        A packable method uses the tower's sizes alone, so the tower may be on `meta`.
        """
        raise NotImplementedError

    def build_for_texts(self, tower: "FrozenTower", *, frames: int) -> "Network":
        """The network of `build` with features in the space of texts: by default a copy of the tower's projection.

        For methods with `projects_to_texts`.
        """
        from side4video.models.networks.text_space import ProjectedClips

        return ProjectedClips(cast("nn.Module", self.build(tower, frames=frames)), tower)

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "RetrievalNetwork":
        """For retrieval: the network for videos and texts, on torch's current default device.

        The text tower becomes a part of it. The caller sets `requires_grad` of the text tower's parameters.
        """
        raise NotImplementedError


def frame_feature_request(tower: TowerShape) -> FeatureRequest:
    """What a frame's feature in the texts' space is computed from: the class token, or else the pooled feature."""
    by_class = tower.pooling == "class-token"
    return FeatureRequest(class_token=by_class, pooled=not by_class)


def recipe(learning_rate: float, batch_size: int, *, epochs: int, warmup_epochs: float) -> dict[str, Any]:
    """The settings that most recipes have."""
    return {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "length": {"epochs": epochs},
        "warmup": {"epochs": warmup_epochs},
    }


RETRIEVAL_RECIPE = {
    "learning_rate": 1e-4,
    "pretrained_learning_rate_factor": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-6,
    "weight_decay": 0.2,
    "weight_decay_on": "all-but-biases",
    "batch_size": 128,
    "length": {"epochs": 5},
    "warmup": {"epochs": 0.5},
    "clipping": {"kind": "norm", "value": 1.0},
}
"""The settings of the authors' code for retrieval (Side4Video, section 4.1)."""


FRAME_POSITIONS = 77
"""Rows of the learned positions of frames in Text4Vis and BIKE: as many as CLIP has for the tokens of a text."""


def check_frame_positions(frames: int) -> None:
    """Raise the error of a clip that has more frames than there are positions."""
    if frames > FRAME_POSITIONS:
        raise wrong(
            "data.frames",
            f"{frames} frames, and the method has positions for {FRAME_POSITIONS}",
            allowed=f"1 to {FRAME_POSITIONS}",
            fix="set it to 32",
        )


def check_layers(layers: int, tower: TowerShape, *, allowed: str = "", fix: str = "") -> None:
    """Raise the error of a method that reads more blocks than the tower has."""
    if layers > tower.depth:
        raise wrong(
            "method.layers",
            f"layers {layers} is more than the backbone's {tower.depth} blocks",
            allowed=allowed or f"1 to {tower.depth}",
            fix=fix or f"set layers to {tower.depth} or take a deeper backbone",
        )


def check_reduction(reduction: int, tower: TowerShape, *, default: int) -> None:
    """Raise the error of a tower whose width is not divisible by a method's `reduction`."""
    if tower.width % reduction:
        raise wrong(
            "method.reduction",
            f"the tower's width {tower.width} is not divisible by {reduction}",
            allowed=f"divisors of {tower.width}",
            fix=f"set it to {default}",
        )


def check_heads(heads: int | Literal["tower"], tower: TowerShape) -> None:
    """Raise the error of a tower whose width does not divide into a method's `heads`."""
    if heads != "tower" and tower.width % heads:
        raise wrong(
            "method.heads",
            f"the tower's width {tower.width} does not divide into {heads} heads",
            allowed=f"divisors of {tower.width}, or tower",
            fix=f"set it to {tower.heads}",
        )

"""STAN (Liu et al., 2023, arXiv 2301.11116): a branch beside CLIP's last blocks, over time and over space.

The authors also fine-tune CLIP, at a tenth of the branch's rate. Here the image tower is frozen, except for copies of
its final norm and projection. The rest is as in the authors' code. The branch only reads the tower's tokens, so several
students can share one pass.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from side4video.core.bounds import Layers
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_layers, recipe

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

MAX_FRAMES = 64
"""Rows of the learned embedding of time (the authors' code)."""


class STANSpec(MethodSpec):
    """A branch of temporal attention and copied blocks beside a frozen tower (STAN, which fine-tunes the tower).

    Its blocks start as copies of the tower's. The authors normalise only the mean of the frames (`task.matching:
    {kind: mean}` normalises each frame first), and fix the scale of the logits at 50 for ViT-B and at 100 for ViT-L
    (here, `task.largest_logit_scale: 50` limits CLIP's 100).

    The recipe `stan` has 2e-6 for CLIP's parameters. The authors' warm-up would take all of their 10 epochs; here it
    takes one.
    """

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    needs_class_token: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "stan": recipe(2e-5, 128, epochs=10, warmup_epochs=1)
        | {
            "pretrained_learning_rate_factor": 0.1,
            "betas": (0.9, 0.98),
            "weight_decay": 0.05,
            "weight_decay_on": "matrices",
            "clipping": {"kind": "norm", "value": 5.0},
        }
    }
    kind: Literal["stan"] = "stan"
    layers: Layers = 4
    """Blocks of the branch, beside as many of the tower's last (the authors: 4)."""
    drop_path: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Probability that the last block drops the output of attention, for a position over time and for a frame over
    space; it falls linearly to 0 in the first block (the authors: 0.1)."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower's last `layers` blocks."""
        return tuple(range(tower.depth - self.layers, tower.depth))

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """The tokens of the last blocks.

        Raises:
            PydanticCustomError: The tower's layers are not CLIP's, it has fewer blocks, or the clip is too long.
        """
        is_clips = tower.plain_attention and tower.prefix_tokens == 1 and tower.pooling == "class-token"
        if not is_clips or tower.post_norm:
            raise wrong(
                "method.kind",
                "stan copies blocks of CLIP's form, and this tower's have another (rotary positions, norms behind its "
                "branches, registers, or a feature that is not the class token)",
                allowed="CLIP's towers, such as backbone.model ViT-B-16, or backbone.kind vit",
                fix="take one of them, or another method",
            )
        check_layers(self.layers, tower, fix=f"set layers to {min(4, tower.depth)}")
        if frames > MAX_FRAMES:
            raise wrong(
                "data.frames",
                f"{frames} frames, and stan's embedding of time has {MAX_FRAMES} rows",
                allowed=f"1 to {MAX_FRAMES}",
                fix="set it to 12",
            )
        return FeatureRequest(tokens=frozenset(self.taps(tower)))

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """The branch, copies of the tower's last two layers, and the text tower."""
        from side4video.models.networks.pair import Pair
        from side4video.models.networks.stan import STAN

        video = STAN(tower, taps=self.taps(tower.shape), drop_path=self.drop_path)
        return Pair(video, text, output_dim=tower.shape.output_dim)


class TrainedSTANSpec(STANSpec):
    """STAN as its authors train it: both towers, with all their embeddings, and the branch.

    They do not normalise frames before the mean: `task.matching: {kind: mean, normalize_frames: false}`. Their scale of
    the logits is fixed at 50 for ViT-B and at 100 for ViT-L (`task.largest_logit_scale` limits CLIP's 100).
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    kind: Literal["stan-trained"] = "stan-trained"  # type: ignore[assignment] the union selects by it
    layers: Layers = 4
    """As in `stan`."""
    drop_path: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """As in `stan`."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """Nothing: the method runs the tower itself.

        Raises:
            PydanticCustomError: As for `stan`.
        """
        super().reads(tower, frames=frames)
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """The branch beside the trained tower, and the text tower."""
        from side4video.models.networks.pair import Pair
        from side4video.models.networks.stan import TrainedSTAN

        video = TrainedSTAN(tower, taps=self.taps(tower.shape), drop_path=self.drop_path)
        return Pair(video, text, output_dim=tower.shape.output_dim)

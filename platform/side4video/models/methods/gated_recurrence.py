"""Gated recurrence over frozen tokens: a transformer core whose state goes from frame to frame, for streams of video.

After the gated core of the repository `towards-video-image-frozen`. Every frame's tokens pass the tower's final norm;
gates decide what of the state is read and what is replaced. A readout with one query reads the state after the last
frame. The authors' training script and initial values are not released: here matrices are truncated N(0, 0.02) and
biases zero.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from side4video.core.bounds import Few, Layers
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec, check_heads

if TYPE_CHECKING:
    from side4video.models.networks.gated_recurrence import GatedRecurrence
    from side4video.models.towers.frozen_tower import FrozenTower

READOUT_HEADS, READOUT_HEAD_WIDTH = 12, 64


class GatedRecurrenceSpec(MethodSpec):
    """A gated transformer core over the frozen tokens of the last block, frame by frame."""

    reads_clip_towers: ClassVar[bool] = True
    kind: Literal["gated-recurrence"] = "gated-recurrence"
    layers: Layers = 4
    """Layers of the core: cross-attention to the state, MLP, self-attention (the authors: 4)."""
    heads: Few | Literal["tower"] = "tower"
    """Attention heads of the core; `tower`: as many as the tower has, the authors' numbers (6, 12, 16)."""
    recompute: Literal["none", "block"] = "block"
    """What backward recomputes: nothing, or all of a frame but its state. It changes memory and time; the gradients are
    the same up to rounding."""

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """The tokens of the last block.

        Raises:
            PydanticCustomError: The tower's width is not divisible by the heads.
        """
        check_heads(self.heads, tower)
        return FeatureRequest(tokens=frozenset({tower.depth - 1}))

    def output_dim(self, tower: TowerShape) -> int:  # noqa: ARG002
        """The width of the readout."""
        return READOUT_HEADS * READOUT_HEAD_WIDTH

    def build(self, tower: "FrozenTower", *, frames: int) -> "GatedRecurrence":
        """The core and the readout, initialised from torch's current generator."""
        from side4video.models.networks.gated_recurrence import GatedRecurrence

        return GatedRecurrence(
            tower,
            steps=tower.shape.time_steps(frames),
            layers=self.layers,
            heads=tower.shape.heads if self.heads == "tower" else self.heads,
            readout_heads=READOUT_HEADS,
            readout_head_width=READOUT_HEAD_WIDTH,
            recomputes=self.recompute == "block",
        )

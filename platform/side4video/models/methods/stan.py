"""STAN (Liu et al., 2023, arXiv 2301.11116): a branch beside CLIP's last blocks, over time and over space.

Its authors train the whole of CLIP with it, at a tenth of the branch's rate. Here the image tower is frozen: of it the
final norm and the projection are trained, at the rate of what was trained before, and the rest of the method is as in
their code. The branch only reads the tower's tokens, so any number of such students share one pass.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

LONGEST = 64
"""Frames that the learnt embedding of time has rows for (the authors' code)."""


class STANSpec(MethodSpec):
    """A branch of temporal attention and copied blocks beside a frozen tower (STAN, which fine-tunes the tower).

    Each of its blocks begins as a copy of the tower's. The authors compare by the mean of the frames, of which they
    give only the mean length one (`task.matching: {kind: mean}` gives it to each frame first), and hold the scale of
    the logits at 50 for ViT-B and at 100 for ViT-L (here `task.largest_logit_scale: 50` holds CLIP's 100 down).
    """

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)

    kind: Literal["stan"] = "stan"
    layers: PositiveInt = 4
    """Blocks of the branch, beside as many of the tower's last (the authors: 4)."""
    drop_path: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Probability that the last block leaves out what attention adds, for a place over time and for a frame over
    space; less in the blocks before it, down to 0 in the first (the authors: 0.1)."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """The tower's last `layers` blocks."""
        return tuple(range(tower.depth - self.layers, tower.depth))

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """The tokens of the last blocks.

        Raises:
            PydanticCustomError: If the tower's blocks are not CLIP's, or fewer, or the clip is too long.
        """
        if not tower.plain_attention or tower.post_norm:
            raise wrong(
                "method.kind",
                "stan copies blocks of CLIP's form, and this tower's have another (rotary positions, or norms behind "
                "its branches)",
                allowed="CLIP's towers: backbone.model ViT-..., or backbone.kind vit",
                fix="take one of them, or another method",
            )
        if self.layers > tower.depth:
            raise wrong(
                "method.layers",
                f"layers {self.layers} is more than the backbone's {tower.depth} blocks",
                allowed=f"1 to {tower.depth}",
                fix=f"set layers to {min(4, tower.depth)}",
            )
        if frames > LONGEST:
            raise wrong(
                "data.frames",
                f"{frames} frames, and stan's embedding of time has {LONGEST} rows",
                allowed=f"1 to {LONGEST}",
                fix="set it to 12",
            )
        return FeatureRequest(tokens=frozenset(self.taps(tower)))

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":  # noqa: ARG002
        """The branch with the tower's last two layers, and the text tower."""
        from side4video.models.networks.pair import Pair
        from side4video.models.networks.stan import STAN

        video = STAN(tower, taps=self.taps(tower.shape), drop_path=self.drop_path)
        return Pair(video, text, output_dim=tower.shape.output_dim)

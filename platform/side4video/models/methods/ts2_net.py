"""TS2-Net (Liu et al., 2022, arXiv 2207.07852): tokens shifted between frames, and the most telling patches kept.

Both towers are trained, except for their embeddings. The similarity is `task.matching: {kind: query-weighted}`.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from side4video.core.bounds import Few, Layers
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class TS2NetSpec(MethodSpec):
    """TS2-Net: the tower with shifted tokens in late blocks; blocks over class tokens and selected patches of a clip.

    The recipe is CLIP4Clip's. The authors mask frames that fill up a short video by the wrong places; here each token
    has its frame's mask. Their model also holds two modules that no output reads; here they are left out.
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    needs_class_token: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    kind: Literal["ts2-net"] = "ts2-net"
    shifted_blocks: tuple[Annotated[int, Field(ge=0)], ...] = (10, 11)
    """Blocks of the tower, from 0, whose attention reads shifted tokens (the authors: 10 and 11 of 12)."""
    patches: Few = 3
    """Selected patches of a frame, beside its class token (the authors: 3)."""
    layers: Layers = 4
    """Blocks over the tokens of a clip (the authors: 4)."""
    noise_in_evaluation: bool = False
    """Whether the selection draws noise in an evaluation too (the authors): then its metrics are random."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """All that read frames; the authors' is the last one."""
        return ("mean", "token-wise", "query-weighted")

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing: the method runs the tower itself.

        Raises:
            PydanticCustomError: The tower has other tokens than CLIP's, or too few blocks or patches.
        """
        if tower.prefix_tokens != 1 or tower.pooling != "class-token" or tower.post_norm:
            raise wrong(
                "method.kind",
                "ts2-net projects every token, and this backbone has registers, norms behind its branches, or a "
                "feature that is not the class token",
                allowed="CLIP's backbones, such as backbone.model ViT-B-16",
                fix="take one of them, or another method",
            )
        if len(set(self.shifted_blocks)) < len(self.shifted_blocks):
            raise wrong(
                "method.shifted_blocks",
                f"{list(self.shifted_blocks)} names a block twice",
                allowed="each block once",
                fix=f"set it to {sorted(set(self.shifted_blocks))}",
            )
        if self.shifted_blocks and max(self.shifted_blocks) >= tower.depth:
            raise wrong(
                "method.shifted_blocks",
                f"block {max(self.shifted_blocks)}, and the backbone has {tower.depth}",
                allowed=f"blocks 0 to {tower.depth - 1}",
                fix=f"set it to [{max(0, tower.depth - 2)}, {tower.depth - 1}]",
            )
        if self.patches > tower.patches:
            raise wrong(
                "method.patches",
                f"{self.patches} of a frame, and the backbone has {tower.patches}",
                allowed=f"1 to {tower.patches}",
                fix=f"set it to {min(3, tower.patches)}",
            )
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both networks."""
        from side4video.models.networks.clip4clip import freeze_entrance
        from side4video.models.networks.pair import Pair
        from side4video.models.networks.ts2_net import TS2Net

        freeze_entrance(text)
        video = TS2Net(
            tower,
            text,
            shifted_blocks=self.shifted_blocks,
            patches=self.patches,
            layers=self.layers,
            frames=frames,
            noise_in_evaluation=self.noise_in_evaluation,
        )
        return Pair(video, text, output_dim=tower.shape.output_dim)

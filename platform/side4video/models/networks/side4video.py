"""The Side4Video network (section 3.3, Figure 3), on tokens with their channels last.

Legend: B clips, T frames, N = B·T, P tokens of the side stream in a frame, S tokens of the tower in a frame, D tower
width, d side width, C channels of a frame.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.norm import TokenBatchNorm, normalised_mean
from side4video.models.layers.patch_embedding import TemporalPatchEmbedding
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.side_block import Mixing, Norms, Recompute, Shifted, SideBlock, Temporal

Representation = Literal["gap", "vit-cls", "extra-cls"]
DIFFERENCES = 4
"""Between five successive frames (TDS-CLIP)."""
LEADING: dict[Representation, Literal["none", "tower", "own"]] = {"gap": "none", "vit-cls": "tower", "extra-cls": "own"}


class Side4Video(nn.Module):
    """The side network for recognition: stem, blocks, norm, and the mean over time and space (eq. 3).

    With `vit-cls` and `extra-cls` (section 4.5, Table 9d) the stream has one more token before the patches. It takes
    part in attention and MLP, not in temporal mixing, and its mean over time is the representation. With `vit-cls` it
    starts at zero and is fused with the tower's projected class token in each block, as patches are with patches. With
    `extra-cls` it starts as a learned vector and is not fused.
    """

    def __init__(
        self,
        *,
        tower: TowerShape,
        taps: tuple[int, ...],
        dim: int,
        mlp_ratio: int = 4,
        mixing: Mixing = "add",
        temporal: Temporal = "conv",
        gates_temporal: bool = False,
        reads_differences: bool = False,
        shifted: Shifted | None = "class",
        representation: Representation = "gap",
        norms: Norms = "pre",
        recompute: Recompute = "block",
        extras: frozenset[str] = frozenset({"stem_norm", "spatial_embedding", "final_norm"}),
        embeds_shifted_cls: bool = False,
    ) -> None:
        super().__init__()
        self.taps, self.output_dim = taps, dim
        self.representation, self.shifted, self.recompute = representation, shifted, recompute
        # TDS-CLIP pads both stems in space too.
        self.stem = TemporalPatchEmbedding(dim, patch_size=tower.patch_size, border=reads_differences)
        self.stem_norm = TokenBatchNorm(dim) if "stem_norm" in extras else None
        self.difference_stem = DifferenceStem(dim, patch_size=tower.patch_size) if reads_differences else None
        deviation = 0.02 if norms == "post" else 0.01
        rows = tower.patches + int(embeds_shifted_cls)
        has_embedding = "spatial_embedding" in extras
        self.spatial_PD = nn.Parameter(torch.randn(rows, dim) * deviation) if has_embedding else None
        self.extra_D = nn.Parameter(torch.randn(dim) * 0.02) if representation == "extra-cls" else None
        self.blocks = nn.ModuleList(
            SideBlock(
                tower,
                dim,
                mlp_ratio=mlp_ratio,
                mixing=mixing,
                temporal=temporal,
                gates_temporal=gates_temporal,
                shifted=shifted,
                leading=LEADING[representation],
                norms=norms,
                recompute=recompute,
            )
            for _ in taps
        )
        self.final_norm = TokenBatchNorm(dim) if "final_norm" in extras else None

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, d] of the clips, fp32."""
        return normalised_mean(self._run(features), self.final_norm)

    def frames(self, features: FrozenFeatures) -> Tensor:
        """Features [B, T, d] of each frame, fp32 (eq. 4: the mean over space alone)."""
        return normalised_mean(self._run(features), self.final_norm, over=(2,))

    def _run(self, features: FrozenFeatures) -> Tensor:
        """The stream's tokens whose mean is the representation."""
        side_BTPD = self._stem(features)
        if self.representation != "gap":
            token_BT1D = side_BTPD.new_zeros((*side_BTPD.shape[:2], 1, side_BTPD.shape[-1]))
            if self.extra_D is not None:
                token_BT1D = token_BT1D + self.extra_D.to(side_BTPD.dtype)
            side_BTPD = torch.cat([token_BT1D, side_BTPD], dim=2)
        pooled_BTD = features.pooled_BTD if self.shifted == "pooled" else None
        for tap, block in zip(self.taps, self.blocks, strict=True):
            side_BTPD = block(side_BTPD, features.tokens[tap], self.spatial_PD, pooled_BTD)
        return side_BTPD if self.representation == "gap" else side_BTPD[:, :, :1]

    def _stem(self, features: FrozenFeatures) -> Tensor:
        """Patch tokens of the frames after the stem and its norm, and half of those of the differences."""
        stem_norm = self.stem_norm
        if stem_norm is None:
            return self.stem(features.video_BTCHW, features.normalise)
        first = [True]

        def run(video_BTCHW: Tensor) -> Tensor:
            # The recomputation in backward must not update the running statistics again.
            update = first.pop() if first else False
            tokens_BTPD = stem_norm(self.stem(video_BTCHW, features.normalise), update=update)
            if self.difference_stem is None:
                return tokens_BTPD
            return tokens_BTPD + 0.5 * self.difference_stem(features, update=update)

        if self.recompute == "none" or not torch.is_grad_enabled():
            return run(features.video_BTCHW)
        return checkpoint(run, features.video_BTCHW, use_reentrant=False, preserve_rng_state=False)


class DifferenceStem(nn.Module):
    """TDS-CLIP's second stem: a patch embedding of the four differences between five successive raw frames."""

    def __init__(self, dim: int, *, patch_size: int) -> None:
        super().__init__()
        channels = DIFFERENCES * 3
        self.embedding = TemporalPatchEmbedding(dim, patch_size=patch_size, channels=channels, border=True)
        self.norm = TokenBatchNorm(dim)

    def forward(self, features: FrozenFeatures, *, update: bool) -> Tensor:
        """Tokens [B, T, P, d].

        Raises:
            ValueError: The features have no neighbours of frames.
        """
        around = features.neighbours
        if around is None:
            raise ValueError("the network reads differences of frames, and the method did not request neighbours")

        def differences(video_BTCHW: Tensor, around_BTKCHW: Tensor) -> Tensor:
            before, after = around_BTKCHW.chunk(2, dim=2)
            frames_BTKCHW = torch.cat([before, video_BTCHW.unsqueeze(2), after], dim=2)
            return around.difference(frames_BTKCHW).flatten(2, 3)

        tokens_BTPD = self.embedding(features.video_BTCHW, differences, around.frames_BTKCHW)
        return self.norm(tokens_BTPD, update=update)

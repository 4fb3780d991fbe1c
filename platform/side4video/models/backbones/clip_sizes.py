"""The sizes of networks that read whole clips, for weights of one's own and for trials."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from side4video.core.bounds import Few, Frames, Layers, Pixels, Width
from side4video.core.spec import Spec, wrong


class TransformerSizes(Spec):
    """Sizes of V-JEPA 2, VideoMAE or ViViT: blocks of one width over all tokens of a clip."""

    kind: Literal["transformer"] = "transformer"
    width: Width
    """Channels of a token."""
    layers: Layers
    """Blocks."""
    heads: Few
    """Attention heads of a block."""
    mlp_ratio: Annotated[float, Field(gt=0, le=100)] = 4.0
    """Hidden channels of the MLP over `width`."""
    patch_size: Pixels = 16
    """Side of a patch, pixels."""
    tubelet_frames: Annotated[Frames, Field(ge=2)] = 2
    """Frames of a token."""

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """`width` is a multiple of `heads`."""
        if self.width % self.heads:
            raise wrong(
                "backbone.sizes.heads",
                f"{self.heads}, which do not divide the width {self.width}",
                allowed=f"divisors of {self.width}",
                fix="change one of them",
            )
        return self

    @model_validator(mode="after")
    def the_mlp_has_channels(self) -> Self:
        """`mlp_ratio` leaves at least one hidden channel."""
        if int(self.width * self.mlp_ratio) < 1:
            raise wrong(
                "backbone.sizes.mlp_ratio",
                f"{self.mlp_ratio:g}, which leaves an MLP of width {self.width} no channel",
                allowed=f"{1 / self.width:g} and more",
                fix="set it to 4",
            )
        return self

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.layers


class SwinSizes(Spec):
    """Sizes of Video Swin: four stages, each with half of the grid and twice the width of the one before."""

    kind: Literal["swin"] = "swin"
    width: Width
    """Channels of a token in the first stage."""
    layers: Annotated[tuple[Layers, ...], Field(min_length=1, max_length=6)]
    """Blocks of each stage."""
    heads: Annotated[tuple[Few, ...], Field(min_length=1, max_length=6)]
    """Attention heads of each stage."""
    window: tuple[Few, Few, Few] = (8, 7, 7)
    """Tokens of an attention window: over time, height and width. The authors have 16 over time on
    Something-Something V2."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Rate of dropped branches of the last block, where the tower is trained; it grows linearly from 0. torchvision:
    0.1; the authors: 0.1 (T), 0.2 (S), 0.3 (B), and 0.4 on Something-Something V2."""

    @model_validator(mode="after")
    def every_stage_has_heads(self) -> Self:
        """As many numbers of heads as of stages, each of which divides the width; windows of a size to compute."""
        if len(self.heads) != len(self.layers):
            raise wrong(
                "backbone.sizes.heads",
                f"{len(self.heads)} numbers, and layers has {len(self.layers)}",
                allowed="one for each stage",
                fix="give both for every stage",
            )
        if sum(self.layers) < 2:
            raise wrong("backbone.sizes.layers", "one block", allowed="two and more in all", fix="add a block")
        if (tokens := math.prod(self.window)) > MAX_WINDOW:
            raise wrong(
                "backbone.sizes.window",
                f"{tokens:,} tokens, each of which attends to all",
                allowed=f"up to {MAX_WINDOW:,} tokens",
                fix="set it to [8, 7, 7], or [16, 7, 7] as the authors on Something-Something V2",
            )
        widths = [self.width * 2**stage for stage in range(len(self.layers))]
        for width, heads in zip(widths, self.heads, strict=True):
            if width % heads:
                raise wrong(
                    "backbone.sizes.heads",
                    f"{heads} in the stage of width {width}",
                    allowed=f"divisors of {width}",
                    fix="change the heads, or the width",
                )
        return self

    @property
    def depth(self) -> int:
        """Number of blocks of all stages."""
        return sum(self.layers)

    @property
    def patch_size(self) -> int:
        """Side of the square of pixels behind a token of the last stage."""
        return _SWIN_PATCH * 2 ** (len(self.layers) - 1)

    @property
    def tubelet_frames(self) -> int:
        """Frames of a token."""
        return 2


_SWIN_PATCH = 4
MAX_WINDOW = 4096
"""Tokens of the largest window of attention. The authors have 392 and 784."""
ClipSizes = Annotated[TransformerSizes | SwinSizes, Field(discriminator="kind")]

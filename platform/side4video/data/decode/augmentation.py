"""What may be done to the frames of a clip, as documents. The work itself is in `transforms.py`.

The paper's Table 12 and the authors' code: RandAugment (Kinetics with the largest tower only, or all; see the
presets of `experiments/`), resize, random resized crop, horizontal flip, greyscale, in this order. Mixing two clips
(`mix.py`), which other recipes have, comes last.
"""

import math
import re
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from side4video.core.spec import Spec

Probability = Annotated[float, Field(ge=0, le=1)]


class RandomResizedCropSpec(Spec):
    """A random part of the frame, resized to `size` x `size`; the same part in every frame of a clip."""

    kind: Literal["random-resized"] = "random-resized"
    scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    """Smallest and largest share of the frame's area."""

    ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Smallest and largest width over height."""

    @model_validator(mode="after")
    def ranges_run_upwards(self) -> "RandomResizedCropSpec":
        """Both ranges go from small to large, and no crop is larger than the frame."""
        if not self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares of the area, small to large, at most 1; found {self.scale}")
        if not self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must run from small to large; found {self.ratio}")
        return self


class WholeFrameSpec(Spec):
    """No random crop: the whole frame resized to `size` x `size`, its aspect not kept."""

    kind: Literal["resize"] = "resize"


class CentreCropSpec(Spec):
    """No random crop: the centre of the resized frame, as in test (the authors' code for retrieval)."""

    kind: Literal["centre"] = "centre"


Crop = Annotated[RandomResizedCropSpec | WholeFrameSpec | CentreCropSpec, Field(discriminator="kind")]


class NoRandomAugmentSpec(Spec):
    """Colours and geometry stay."""

    kind: Literal["none"] = "none"


class RandAugmentPolicy(NamedTuple):
    """The parts of a policy string."""

    magnitude: int
    operations: int
    magnitude_deviation: float


_POLICY = re.compile(r"rand-m(\d+)-n(\d+)-mstd(\d+(?:\.\d+)?)-inc1")


class RandAugmentSpec(Spec):
    """RandAugment (Cubuk et al., 2019, arXiv 1909.13719) as timm has it, with one draw per clip."""

    kind: Literal["rand-augment"] = "rand-augment"
    policy: str = "rand-m7-n4-mstd0.5-inc1"
    """timm's notation: magnitude (0 to 10), operations per clip, the magnitude's standard deviation, the set of
    operations that grow with the magnitude. Each operation is applied with probability one half."""

    @model_validator(mode="after")
    def policy_is_readable(self) -> "RandAugmentSpec":
        """The string has timm's form and the magnitude is in range."""
        if not (match := _POLICY.fullmatch(self.policy)) or int(match[1]) > 10 or int(match[2]) < 1:
            raise ValueError(
                f"policy must look like rand-m7-n4-mstd0.5-inc1 with m at most 10 and n at least 1; "
                f"found {self.policy!r}"
            )
        return self

    def parsed(self) -> RandAugmentPolicy:
        """The policy's numbers."""
        match = _POLICY.fullmatch(self.policy)
        assert match is not None, "checked when the spec was made"  # noqa: S101 - for the type checker
        return RandAugmentPolicy(int(match[1]), int(match[2]), float(match[3]))


RandomAugment = Annotated[NoRandomAugmentSpec | RandAugmentSpec, Field(discriminator="kind")]


class RelativeResizeSpec(Spec):
    """The short side becomes a multiple of `size`, the aspect kept."""

    kind: Literal["relative"] = "relative"
    ratio: Annotated[float, Field(ge=1)] = 8 / 7
    """Short side over `size`. 8/7 is the paper's 256 for 224; 1 lets a centre crop see the whole short side."""

    def short_side(self, size: int) -> int:
        """Pixels of the short side."""
        return math.ceil(self.ratio * size - 1e-9)


class ShortSideResizeSpec(Spec):
    """The short side becomes so many pixels, the aspect kept (the authors' Kinetics runs: 256)."""

    kind: Literal["short-side"] = "short-side"
    pixels: PositiveInt = 256
    """Pixels of the short side."""

    def short_side(self, size: int) -> int:  # noqa: ARG002 - the members of the union are called alike
        """Pixels of the short side."""
        return self.pixels


class ExactResizeSpec(Spec):
    """So many pixels, whatever the aspect was (the authors' Something-Something runs: 256 x 320, bicubic)."""

    kind: Literal["exact"] = "exact"
    height: PositiveInt = 256
    """Pixels."""

    width: PositiveInt = 320
    """Pixels."""

    def short_side(self, size: int) -> int:  # noqa: ARG002 - the members of the union are called alike
        """Pixels of the short side."""
        return min(self.height, self.width)


Resize = Annotated[RelativeResizeSpec | ShortSideResizeSpec | ExactResizeSpec, Field(discriminator="kind")]


class NoMixSpec(Spec):
    """Clips stay apart."""

    kind: Literal["none"] = "none"


class MixupSpec(Spec):
    """Sums of two clips and of their labels (Zhang et al., 2018, arXiv 1710.09412)."""

    kind: Literal["mixup"] = "mixup"
    alpha: PositiveFloat = 0.8
    """The share of the own clip is drawn from Beta(alpha, alpha)."""

    probability: Probability = 1.0
    """Chance of a pair of clips to be mixed at all."""


class CutMixSpec(Spec):
    """A box of the other clip in each frame, and as much of its label (Yun et al., 2019, arXiv 1905.04899)."""

    kind: Literal["cutmix"] = "cutmix"
    alpha: PositiveFloat = 1.0
    """The share of the frame outside the box is drawn from Beta(alpha, alpha); what a box at the edge loses counts."""

    probability: Probability = 1.0
    """Chance of a pair of clips to be mixed at all."""


class MixupOrCutMixSpec(Spec):
    """One of the two for each pair of clips; as it stands here, DiST's recipe."""

    kind: Literal["mixup-or-cutmix"] = "mixup-or-cutmix"
    mixup_alpha: PositiveFloat = 0.8
    """`alpha` of `mixup`."""

    cutmix_alpha: PositiveFloat = 1.0
    """`alpha` of `cutmix`."""

    cutmix_probability: Probability = 0.5
    """Chance of CutMix where a pair is mixed; else it is mixup."""

    probability: Probability = 1.0
    """Chance of a pair of clips to be mixed at all."""


Mix = Annotated[NoMixSpec | MixupSpec | CutMixSpec | MixupOrCutMixSpec, Field(discriminator="kind")]


class AugmentationSpec(Spec):
    """How a training clip is varied, and how large frames are before any crop, in training and in test."""

    resize: Resize = RelativeResizeSpec()
    """Frame size before cropping. Training never enlarges for it: the random crop resizes anyway."""

    random_augment: RandomAugment = NoRandomAugmentSpec()
    """Colour and geometry, applied first."""

    crop: Crop = RandomResizedCropSpec()
    """The training crop. Test crops are the `views` of the data spec."""

    flip_probability: Probability = 0.5
    """Horizontal flips; the label follows the data set's left-right map. Must be 0 where labels know left from
    right and no map is known."""

    grayscale_probability: Probability = 0.0
    """Chance of a grey clip."""

    mix: Mix = NoMixSpec()
    """Pairs of clips in one, last of all: the loss asks for both labels, each by its share (`train/loss` is then that
    of mixed clips). For recognition; a worker's part of a batch must have an even number of videos."""

    @property
    def mixes_clips(self) -> bool:
        """Whether a training clip may hold parts of another, and of its label."""
        return self.mix.kind != "none"

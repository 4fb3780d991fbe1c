"""The section `data.augmentation`. The work itself is done in `transforms.py`.

The steps of the paper's Table 12 and of the authors' code, in this order: RandAugment (for Kinetics only with the
largest backbone; see `experiments/`), resize, random resized crop, horizontal flip, greyscale. Mixing two clips
(`mix.py`), which other recipes use, comes last.
"""

import math
import re
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from side4video.core.bounds import Pixels, Positive
from side4video.core.spec import ADDED_LATER, Spec
from side4video.data.decode.transform_spec import Transform

Probability = Annotated[float, Field(ge=0, le=1)]


class RandomResizedCropSpec(Spec):
    """A random part of the frame, resized to `size` x `size`. All frames of a clip get the same crop."""

    kind: Literal["random-resized"] = "random-resized"
    scale: tuple[Positive, Positive] = (0.08, 1.0)
    """Smallest and largest share of the frame's area, 0 to 1."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio: width / height."""

    @model_validator(mode="after")
    def ranges_are_ordered(self) -> "RandomResizedCropSpec":
        """Both ranges are given from small to large, and no crop is larger than the frame."""
        if not self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares of the area, small to large, at most 1; found {self.scale}")
        if not self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must run from small to large; found {self.ratio}")
        return self


class WholeFrameSpec(Spec):
    """No random crop: the whole frame is resized to `size` x `size`, without keeping the aspect ratio."""

    kind: Literal["resize"] = "resize"


class CentreCropSpec(Spec):
    """No random crop: the centre of the resized frame, as in evaluation (the authors' code for retrieval)."""

    kind: Literal["centre"] = "centre"


Crop = Annotated[RandomResizedCropSpec | WholeFrameSpec | CentreCropSpec, Field(discriminator="kind")]


class NoRandomAugmentSpec(Spec):
    """No change of colours or geometry."""

    kind: Literal["none"] = "none"


class RandAugmentPolicy(NamedTuple):
    """The parts of a policy string."""

    magnitude: int
    operations: int
    magnitude_deviation: float


_POLICY = re.compile(r"rand-m(\d+)-n(\d+)-mstd(\d+(?:\.\d+)?)-inc1")


class RandAugmentSpec(Spec):
    """RandAugment (Cubuk et al., 2019, arXiv 1909.13719) as in timm, with one draw for all frames of a clip."""

    kind: Literal["rand-augment"] = "rand-augment"
    policy: str = "rand-m7-n4-mstd0.5-inc1"
    """timm's notation: magnitude (m, 0 to 10), operations per clip (n), standard deviation of the magnitude (mstd), and
    the operations whose effect increases with the magnitude (inc1). Each operation is applied with probability 0.5."""

    @model_validator(mode="after")
    def policy_is_readable(self) -> "RandAugmentSpec":
        """The policy is in timm's notation, and the magnitude is in range."""
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
    """Resize the short side to a multiple of `size`, keeping the aspect ratio."""

    kind: Literal["relative"] = "relative"
    ratio: Annotated[float, Field(ge=1, le=100)] = 8 / 7
    """Short side divided by `size`. 8/7 gives the paper's 256 for 224; with 1, a centre crop contains the whole short
    side."""

    def short_side(self, size: int) -> int:
        """Pixels of the short side."""
        return math.ceil(self.ratio * size - 1e-9)


class ShortSideResizeSpec(Spec):
    """Resize the short side to a number of pixels, keeping the aspect ratio (the authors' Kinetics runs: 256)."""

    kind: Literal["short-side"] = "short-side"
    pixels: Pixels = 256
    """Pixels of the short side."""

    def short_side(self, size: int) -> int:  # noqa: ARG002 - the members of the union are called alike
        """Pixels of the short side."""
        return self.pixels


class ExactResizeSpec(Spec):
    """Resize to a fixed height and width (the authors' Something-Something runs: 256 x 320, bicubic)."""

    kind: Literal["exact"] = "exact"
    height: Pixels = 256
    """Pixels."""
    width: Pixels = 320
    """Pixels."""

    def short_side(self, size: int) -> int:  # noqa: ARG002 - the members of the union are called alike
        """Pixels of the short side."""
        return min(self.height, self.width)


Resize = Annotated[RelativeResizeSpec | ShortSideResizeSpec | ExactResizeSpec, Field(discriminator="kind")]


class NoMixSpec(Spec):
    """Clips are not mixed."""

    kind: Literal["none"] = "none"


class MixupSpec(Spec):
    """Weighted sums of two clips and of their labels (Zhang et al., 2018, arXiv 1710.09412)."""

    kind: Literal["mixup"] = "mixup"
    alpha: Positive = 0.8
    """The weight of the clip itself is drawn from Beta(alpha, alpha)."""
    probability: Probability = 1.0
    """Probability that a pair of clips is mixed, 0 to 1."""


class CutMixSpec(Spec):
    """A box of another clip in each frame, with the same share of its label (Yun et al., 2019, arXiv 1905.04899)."""

    kind: Literal["cutmix"] = "cutmix"
    alpha: Positive = 1.0
    """The share of the frame outside the box is drawn from Beta(alpha, alpha). Where the box leaves the frame, the true
    share counts."""
    probability: Probability = 1.0
    """Probability that a pair of clips is mixed, 0 to 1."""


class MixupOrCutMixSpec(Spec):
    """Mixup or CutMix for each pair of clips. The defaults are DiST's recipe."""

    kind: Literal["mixup-or-cutmix"] = "mixup-or-cutmix"
    mixup_alpha: Positive = 0.8
    """`alpha` of `mixup`."""
    cutmix_alpha: Positive = 1.0
    """`alpha` of `cutmix`."""
    cutmix_probability: Probability = 0.5
    """Probability of CutMix for a pair that is mixed; otherwise mixup."""
    probability: Probability = 1.0
    """Probability that a pair of clips is mixed, 0 to 1."""


Mix = Annotated[NoMixSpec | MixupSpec | CutMixSpec | MixupOrCutMixSpec, Field(discriminator="kind")]


class AugmentationSpec(Spec):
    """Augmentation of training clips, and the frame size before any crop in training and evaluation."""

    resize: Resize = RelativeResizeSpec()
    """Frame size before cropping. In training, small frames are not enlarged for it, because the random crop resizes
    them anyway."""
    random_augment: RandomAugment = NoRandomAugmentSpec()
    """Changes of colour and geometry (RandAugment), applied first."""
    crop: Crop = RandomResizedCropSpec()
    """The crop in training. Evaluation uses the crops of `data.views`."""
    flip_probability: Probability = 0.5
    """Probability of a horizontal flip, 0 to 1. Labels such as "left" and "right" are swapped as `data.dataset.mirror`
    says. Must be 0 if class names contain left or right and their mirrored classes are not known."""
    grayscale_probability: Probability = 0.0
    """Probability that a clip becomes grey, 0 to 1."""
    transforms: Annotated[tuple[Transform, ...], ADDED_LATER] = ()
    """Transforms of plug-ins, in their order, after greyscale and before mixing; see `plugins`."""
    mix: Mix = NoMixSpec()
    """Mix pairs of clips, as the last step. The loss uses both labels, weighted by their shares, so `train/loss` is the
    loss on mixed clips. For recognition only; each worker's part of a batch must have an even number of videos."""

    @property
    def mixes_clips(self) -> bool:
        """Whether training clips are mixed."""
        return self.mix.kind != "none"

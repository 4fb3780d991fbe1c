"""The data section of an experiment, as a document. Imports no torch, so that a spec is checked in a moment."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from side4video.core.spec import Spec
from side4video.data.datasets import Dataset
from side4video.data.decode.augmentation import AugmentationSpec
from side4video.data.decode.frames import DecoderName
from side4video.data.decode.sampling import Sampling, SegmentSampling


class ViewsSpec(Spec):
    """How many times a test video is looked at; scores are averaged over clips x crops views."""

    clips: PositiveInt = 1
    """Temporal views."""

    crops: Literal[1, 3] = 1
    """Spatial views: the centre, or left, centre and right."""

    @property
    def total(self) -> int:
        """Views of one video."""
        return self.clips * self.crops


class RaiseBrokenSpec(Spec):
    """The first clip that cannot be decoded ends the run, named by file and line."""

    kind: Literal["raise"] = "raise"


class SkipBrokenSpec(Spec):
    """Clips that cannot be decoded are replaced in training, left out in evaluation, counted and listed."""

    kind: Literal["skip"] = "skip"
    cap: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of broken clips; past it the run ends."""


BrokenClips = Annotated[RaiseBrokenSpec | SkipBrokenSpec, Field(discriminator="kind")]


class LoaderSpec(Spec):
    """The processes that decode. No result depends on any of these, of files that are whole."""

    workers: NonNegativeInt = 2
    """Decoding processes for each training worker; 0 decodes in a thread of the training process."""

    prefetch: PositiveInt = 2
    """Batches each decoding process (or the thread) keeps ready."""

    cache: Literal["none", "memory"] = "none"
    """`memory`: each decoding process keeps every clip that it has decoded, all its frames at the size they are read
    in. For small sets of short clips."""

    epochs_per_decode: PositiveInt = 1
    """Epochs whose training frames one pass over a video fetches; those of later epochs wait, uncompressed, in the
    temporary folder (`TMPDIR`). Quicker, as decoding a few frames means decoding most of the video, for a disk that
    holds about (this - 1) / 2 x frames x height x width x 3 bytes a clip.
    For one training worker. A run that is killed leaves its folder `side4video-frames-*` behind."""

    timeout_seconds: PositiveFloat = 120
    """Longest wait for one batch: a decoder that hangs on a file ends the run instead of stopping it for ever."""

    @model_validator(mode="after")
    def frames_are_kept_once(self) -> "LoaderSpec":
        """Clips kept whole in memory need no frames on disk."""
        if self.cache == "memory" and self.epochs_per_decode > 1:
            raise ValueError("cache: memory keeps all frames already; make epochs_per_decode 1, or cache: none")
        return self


_RAND_AUGMENT = {"kind": "rand-augment", "policy": "rand-m7-n4-mstd0.5-inc1"}
_SOMETHING_SOMETHING = {
    "sampling": {"kind": "authors-ssv"},
    "repeated_sampling": 2,
    "augmentation": {"resize": {"kind": "exact", "height": 256, "width": 320}, "random_augment": _RAND_AUGMENT},
}
_KINETICS = {"resize": {"kind": "short-side", "pixels": 256}, "grayscale_probability": 0.2}


class DataSpec(Spec):
    """Which clips, and how they become batches of frames."""

    PRESETS: ClassVar = {
        "recipe": {
            "k400": {"sampling": {"kind": "authors-k400"}, "augmentation": _KINETICS},
            "k400-vite14": {
                "sampling": {"kind": "authors-k400"},
                "augmentation": {**_KINETICS, "random_augment": _RAND_AUGMENT},
            },
            "ssv1": _SOMETHING_SOMETHING,
            "ssv2": _SOMETHING_SOMETHING,
            "retrieval": {
                "augmentation": {
                    "resize": {"kind": "short-side", "pixels": 224},
                    "crop": {"kind": "centre"},
                    "flip_probability": 0.0,
                },
                "frames": 12,
            },
        }
    }

    dataset: Dataset
    """Where the clips are listed."""

    recipe: Literal["custom", "k400", "k400-vite14", "ssv1", "ssv2", "retrieval"] = "custom"
    """The augmentation half of a column of the paper's Table 12: sets sampling, augmentation and repeated sampling.
    `retrieval`: no augmentation and 12 frames (section 4.1)."""

    frames: PositiveInt = 8
    """Frames looked at per clip (paper, Tables 2 and 12: 8, 16 or 32)."""

    size: PositiveInt = 224
    """Pixels of a side of the square that the backbone sees."""

    sampling: Sampling = SegmentSampling()
    """Which frames."""

    augmentation: AugmentationSpec = AugmentationSpec()
    """How training clips are varied."""

    repeated_sampling: PositiveInt = 1
    """Augmented copies of a video in one step, with the same frame indices (paper, Table 12: 2 on
    Something-Something; Hoffer et al., 2019, arXiv 1901.09335)."""

    views: ViewsSpec = ViewsSpec()
    """How often a test video is looked at."""

    decoder: DecoderName = "auto"
    """`auto` is PyAV. The frames are the same from each."""

    broken_clips: BrokenClips = RaiseBrokenSpec()
    """What happens when a file cannot be decoded."""

    loader: LoaderSpec = LoaderSpec()
    """The decoding processes."""

    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training clips used, class by class; a smaller share is a subset of a larger one."""

    seed: NonNegativeInt = 0
    """The order of clips and every draw of the data path are functions of this, the epoch and the clip alone."""

    @model_validator(mode="after")
    def resized_frames_hold_the_crop(self) -> "DataSpec":
        """A test crop of `size` fits into the resized frame."""
        short_side = self.augmentation.resize.short_side(self.size)
        if short_side < self.size:
            raise ValueError(
                f"augmentation.resize makes the short side {short_side} pixels, less than size {self.size}; "
                f"enlarge it, or make size at most {short_side}"
            )
        return self

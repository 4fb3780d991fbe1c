"""The section `data` of an experiment. Imports no torch, so that documents are validated quickly."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from side4video.core.bounds import Few, FewOrNone, Frames, Pixels, Positive, Seed
from side4video.core.spec import ADDED_LATER, Spec, wrong
from side4video.data.clip import Split
from side4video.data.datasets import Dataset
from side4video.data.datasets.motion import MotionSpec
from side4video.data.decode.augmentation import AugmentationSpec
from side4video.data.decode.container import DecoderName
from side4video.data.decode.sampling import OnePerSecondSampling, Sampling, SegmentSampling
from side4video.data.descriptions import DescriptionsSpec
from side4video.data.first_epoch import FirstEpoch
from side4video.data.selection import DIVIDER, ChosenClasses, SelectedClips


class ViewsSpec(Spec):
    """How many views of each test video are evaluated. Scores are averaged over clips x crops views."""

    clips: Few = 1
    """Number of temporal views: clips sampled from the video."""
    crops: Literal[1, 3] = 1
    """Number of spatial views: 1 for the centre crop; 3 for left, centre and right."""

    @property
    def total(self) -> int:
        """Number of views of one video."""
        return self.clips * self.crops


class RaiseBrokenSpec(Spec):
    """The run stops at the first clip that cannot be decoded. The error names the file and the line that lists it."""

    kind: Literal["raise"] = "raise"


class SkipBrokenSpec(Spec):
    """Clips that cannot be decoded are replaced in training and left out in evaluation. They are counted and listed."""

    kind: Literal["skip"] = "skip"
    cap: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of broken clips, 0 to 1. The run stops if there are more."""


BrokenClips = Annotated[RaiseBrokenSpec | SkipBrokenSpec, Field(discriminator="kind")]


class LoaderSpec(Spec):
    """Number of decoding processes and their caches."""

    workers: FewOrNone = 2
    """Number of decoding processes for each training worker. 0: decode in a thread of the training process."""
    prefetch: Few = 2
    """Number of batches that each decoding process (or the thread) prepares in advance."""
    cache: Literal["none", "memory"] = "none"
    """`memory`: each decoding process keeps all decoded frames of every clip in memory, at the size they are decoded
    to. Suitable for small data sets of short clips."""
    epochs_per_decode: Few = 1
    """Number of epochs for which the training frames are fetched when a video is decoded. Frames of later epochs are
    stored uncompressed in the temporary folder (`TMPDIR`). Decoding a few frames takes nearly as long as decoding the
    whole video, so values above 1 are faster but need disk space: about (value - 1) / 2 x frames x height x width x 3
    bytes for each clip. Only for one training worker. If a run is killed, its folder `side4video-frames-*` must be
    deleted by hand."""
    timeout_seconds: Positive = 120
    """Longest time to wait for one batch, in seconds. If a decoder hangs, the run stops with an error instead of
    waiting forever."""

    @model_validator(mode="after")
    def frames_are_kept_once(self) -> "LoaderSpec":
        """Clips that are cached in memory need no cache on disk."""
        if self.cache == "memory" and self.epochs_per_decode > 1:
            raise ValueError("cache: memory keeps all frames already; make epochs_per_decode 1, or cache: none")
        return self


_RECIPE_SIZE = 224
"""The frames that recipes are written for, in pixels."""
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
    """The data set: where clips are listed, and where the videos are."""
    recipe: Literal["custom", "k400", "k400-vite14", "ssv1", "ssv2", "retrieval"] = "custom"
    """Sampling, augmentation and repeated sampling as in a column of the paper's Table 12. `retrieval`: no augmentation
    and 12 frames (section 4.1). Frames are resized in the recipe's ratio to `size`: `k400` to 256 pixels for 224."""
    frames: Frames = 8
    """Number of frames of each clip (paper, Tables 2 and 12: 8, 16 or 32)."""
    size: Pixels = 224
    """Height and width of the frames that the backbone gets, in pixels."""
    sampling: Sampling = SegmentSampling()
    """How the frames of a clip are chosen."""
    augmentation: AugmentationSpec = AugmentationSpec()
    """Resizing, cropping and augmentation."""
    repeated_sampling: Few = 1
    """Number of augmented copies of each video in a step, all with the same frame indices (paper, Table 12: 2 on
    Something-Something; Hoffer et al., 2019, arXiv 1901.09335)."""
    views: ViewsSpec = ViewsSpec()
    """Number of views of each test video."""
    decoder: DecoderName = "auto"
    """The video decoder; `auto` is PyAV. All decoders give the same frames."""
    broken_clips: BrokenClips = RaiseBrokenSpec()
    """What happens if a video cannot be decoded: stop, or skip it."""
    loader: LoaderSpec = LoaderSpec()
    """Number of decoding processes and their caches."""
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training clips to use, above 0 and at most 1. It is taken from each class. A smaller share is a
    subset of a larger one."""
    class_sampling: Annotated[Literal["natural", "balanced"], ADDED_LATER] = "natural"
    """`balanced`: training clips are drawn with replacement, and each class has the same chance. An epoch has as many
    clips as before; those of rare classes are in it several times."""
    classes: Annotated[ChosenClasses, ADDED_LATER] = "all"
    """`base`: the half of the classes that has more training clips; `novel`: the other half. Clips of other classes are
    left out of training and test. A model with a text classifier that was trained on one half can be evaluated on the
    other: `side4video evaluate RUN --set data.classes=novel`."""
    shots: Annotated[Few | None, ADDED_LATER] = None
    """Number of training clips of each class, drawn with `seed`. The clips of a smaller number are among those of a
    larger one. Default: all."""
    neighbours: Annotated[int, Field(ge=0, le=16), ADDED_LATER] = 0
    """How many frames before and after each sampled frame are read with it, for a method that reads them
    (`side4video` with `stem: differences`: 2). At the ends of a video, its first or last frame again."""
    descriptions: Annotated[DescriptionsSpec | None, ADDED_LATER] = None
    """Sentences about each video, from a file, for a method that reads them (`cap4video`)."""
    first_epoch: Annotated[FirstEpoch, ADDED_LATER] = 0
    """The epoch of the order of clips that the run's first epoch sees. An arm of a sweep that joined a running pass at
    its epoch 3 is repeated alone with `first_epoch: 3`. After a pause there are several: with `[3, 4, 9]` the run sees
    epochs 3 and 4, then 9 and those after it."""
    seed: Seed = 0
    """Seed of the data path. The order of clips and all augmentation depend only on this seed, the epoch and the
    clip."""

    @property
    def listed(self) -> Dataset | SelectedClips:
        """The data set; with `classes` or `shots`, reduced to them."""
        if self.classes == "all" and self.shots is None:
            return self.dataset
        return SelectedClips(self.dataset, self.classes, self.shots, self.seed)

    def name_fingerprint(self, fingerprint: str) -> str:
        """The fingerprint of the listed clips and the sentences about them, from that of the whole data set.

        Raises:
            InputError: The file of sentences cannot be read.
        """
        listed = self.listed
        named = listed.name_fingerprint(fingerprint) if isinstance(listed, SelectedClips) else fingerprint
        if self.descriptions is None:
            return named
        return f"{named}{DIVIDER}sentences {self.descriptions.fingerprint()[:12]}"

    def fingerprint(self) -> str:
        """The fingerprint of the listed clips and the sentences about them.

        Raises:
            InputError: Lists or sentences cannot be read.
        """
        return self.name_fingerprint(self.dataset.fingerprint())

    @classmethod
    def fitted_preset(cls, values: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
        """A recipe resizes for frames of 224 pixels; for another `size`, in the same ratio."""
        size, augmentation = document.get("size", _RECIPE_SIZE), values.get("augmentation")
        if not augmentation or not isinstance(size, int) or size == _RECIPE_SIZE:
            return values
        resize = {
            key: math.ceil(pixels * size / _RECIPE_SIZE - 1e-9) if isinstance(pixels, int) else pixels
            for key, pixels in augmentation["resize"].items()
        }
        return {**values, "augmentation": {**augmentation, "resize": resize}}

    @model_validator(mode="after")
    def training_clips_are_reduced_once(self) -> "DataSpec":
        """A number of clips of each class, or a share of all."""
        if self.shots is not None and self.train_fraction < 1:
            raise wrong(
                "data.train_fraction",
                f"{self.train_fraction:g}, and shots is {self.shots}: both say how many training clips there are",
                allowed="1, or no shots",
                fix="remove one of the two",
            )
        return self

    @model_validator(mode="after")
    def balanced_sampling_keeps_no_frames(self) -> "DataSpec":
        """Frames that wait for later epochs are of clips that come once in each epoch."""
        if self.class_sampling == "balanced" and self.loader.epochs_per_decode > 1:
            raise wrong(
                "data.loader.epochs_per_decode",
                f"{self.loader.epochs_per_decode}, and class_sampling is balanced: a clip may come twice or never",
                allowed="1",
                fix="set it to 1, or class_sampling to natural",
            )
        return self

    @model_validator(mode="after")
    def neighbours_are_of_plain_clips(self) -> "DataSpec":
        """Mixed clips have one video each, and frames that fill up a clip have no neighbours."""
        mix = self.augmentation.mix.kind
        if self.neighbours and mix != "none":
            raise wrong(
                "data.neighbours",
                f"{self.neighbours}, and augmentation.mix is {mix}: neighbours of mixed frames are not mixed",
                allowed="0, or augmentation.mix: {kind: none}",
                fix="set augmentation.mix to {kind: none}",
            )
        if isinstance(self.sampling, OnePerSecondSampling) and (self.neighbours or self.views.clips > 1):
            name = "data.neighbours" if self.neighbours else "data.views.clips"
            raise wrong(
                name,
                f"{self.neighbours or self.views.clips}, and sampling is one-per-second, "
                + ("whose frames have no neighbours" if self.neighbours else "which has one view of a video"),
                allowed="0" if self.neighbours else "1",
                fix="take another sampling" if self.neighbours else "set it to 1, or take another sampling",
            )
        return self

    @model_validator(mode="after")
    def resized_frames_hold_the_crop(self) -> "DataSpec":
        """The resized frame is at least as large as the test crop (`size`)."""
        short_side = self.augmentation.resize.short_side(self.size)
        if short_side < self.size:
            raise ValueError(
                f"augmentation.resize makes the short side {short_side} pixels, less than size {self.size}; "
                f"enlarge it, or make size at most {short_side}"
            )
        return self


def clip_counts(data: DataSpec) -> dict[Split, int]:
    """Number of clips of each split, before `train_fraction`. The built-in data set is not rendered for it.

    Raises:
        InputError: The lists cannot be read, or a class has fewer training clips than `shots`.
    """
    listed = data.listed
    if isinstance(listed, SelectedClips):
        return listed.clip_counts()
    if isinstance(listed, MotionSpec):
        return {"train": listed.train_clips, "test": listed.test_clips}
    return {split: len(listed.clips(split)) for split in listed.splits()}

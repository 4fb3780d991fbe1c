"""The section `features`: features of the frozen backbone are computed in each step, or read from disk.

Both can use a finite pool of augmented versions (views) of each training clip: epoch `e` uses view `e % views`. A view
has the same random draws as the epoch of that number in an experiment without a pool. So cached and computed features
of the same pool differ only in rounding.
"""

from typing import Annotated, Literal

from pydantic import Field

from side4video.core.bounds import Count, Few, Positive
from side4video.core.spec import PathText, Spec
from side4video.data.spec import DataSpec

PASS_CLIPS = 8
"""Clips of one forward pass of the tower while a cache is built (clips 0 to 7, 8 to 15, ...). It is fixed, so that
cached files do not depend on the number of workers or on the shards."""
SUGGESTED_VIEWS = 4
"""Number of views that messages suggest."""


class ComputedFeaturesSpec(Spec):
    """The frozen backbone runs in each step, once for all students of a pack."""

    kind: Literal["computed"] = "computed"
    views: Few | Literal["endless"] = "endless"
    """Number of augmented versions of each training clip: epoch e uses version e modulo this number. `endless`: a new
    version in each epoch."""

    @property
    def pool(self) -> int | None:
        """Number of views; None if every epoch has its own."""
        return None if self.views == "endless" else self.views


class CachedFeaturesSpec(Spec):
    """The frozen backbone runs once over all clips and views before training. Training reads its features from disk.

    Experiments with the same backbone and data share the files; missing ones are added. `side4video evaluate` computes
    features without the cache.
    """

    kind: Literal["cached"] = "cached"
    views: Few | Literal["auto"] = "auto"
    """Number of augmented versions of each training clip: epoch e uses version e modulo this number. `auto`: one
    version, if training draws nothing at random; otherwise give a number, because it changes the result."""
    folder: PathText = ""
    """Folder for the files, shared by all nodes; may contain ${NAME}. Empty: `features` in `$SIDE4VIDEO_HOME`."""
    limit_gib: Positive = 100.0
    """Largest size of the cache of this experiment, GiB. A larger one is an error before anything is computed."""
    shard_clips: Annotated[Count, Field(multiple_of=PASS_CLIPS)] = 64
    """Number of clips in each file, a multiple of 8. If building the cache is interrupted, at most the files being
    written are lost."""

    @property
    def pool(self) -> int:
        """Number of views."""
        return 1 if self.views == "auto" else self.views


def training_draws(data: DataSpec) -> list[str]:
    """Random draws that make the frames of a clip differ between epochs, in words; empty if there are none.

    Repeated sampling does not count: copies of a clip differ only by the draws that are listed here.
    """
    augmentation = data.augmentation
    causes = {
        f"{data.sampling.kind} sampling": data.sampling.kind != "centre",
        "random crops": augmentation.crop.kind == "random-resized",
        "flips": 0 < augmentation.flip_probability < 1,
        "grey clips": 0 < augmentation.grayscale_probability < 1,
        "RandAugment": augmentation.random_augment.kind != "none",
        "transforms of plug-ins": any(each.is_random for each in augmentation.transforms),
    }
    return [cause for cause, is_drawn in causes.items() if is_drawn]

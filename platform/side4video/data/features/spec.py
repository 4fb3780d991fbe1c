"""Where the tower's features come from, as documents: computed in each step, or read from disk.

Both may draw from a finite *pool*: so many augmented versions of each training clip, its views, of which epoch `e`
sees view `e % views`. The draws of a view are those that an experiment without a pool makes in the epoch of the same
number. So a pool says fully what is trained on, and whether its features are computed or read changes rounding only.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from side4video.core.spec import Spec
from side4video.data.spec import DataSpec

PASS_CLIPS = 8
"""Clips of one pass of the tower while a cache is made: fixed, so that nothing in a file depends on how many workers
made it, or on the shards. Absolute: clips 0 to 7, 8 to 15, ..."""
SUGGESTED_VIEWS = 4
"""Of a pool, where somebody has to name a number."""


class ComputedFeaturesSpec(Spec):
    """The tower runs in each step, once for all students."""

    kind: Literal["computed"] = "computed"
    views: PositiveInt | Literal["endless"] = "endless"
    """Augmented versions of each training clip: epoch e sees version e modulo this. `endless`: a new one each epoch."""

    @property
    def pool(self) -> int | None:
        """Views of the pool; None where every epoch has its own."""
        return None if self.views == "endless" else self.views


class CachedFeaturesSpec(Spec):
    """The tower runs once over every clip and view before training; then its features are read from disk.

    Runs whose documents agree on tower and data share the files, and add what is missing. `side4video evaluate`
    computes.
    """

    kind: Literal["cached"] = "cached"
    views: PositiveInt | Literal["auto"] = "auto"
    """Augmented versions of each training clip: epoch e sees version e modulo this. `auto`: one, where training draws
    nothing; else the number has to be said, for it changes what is learnt."""
    folder: str = ""
    """Where the files are, shared by all nodes; empty: `features` in the platform's home. May hold ${NAME}."""
    limit_gib: PositiveFloat = 100.0
    """Largest size of all that this experiment reads, GiB; a larger one is refused before anything is computed."""
    shard_clips: Annotated[PositiveInt, Field(multiple_of=PASS_CLIPS)] = 64
    """Clips in a file, a multiple of 8. A build that was interrupted loses at most the files it was writing."""

    @property
    def pool(self) -> int:
        """Views of the pool."""
        return 1 if self.views == "auto" else self.views


def training_draws(data: DataSpec) -> list[str]:
    """What makes one epoch's frames of a training clip differ from another's, in words; empty if nothing does.

    Repeated sampling is none of it: copies of a clip differ only by the draws that are listed here.
    """
    augmentation = data.augmentation
    causes = {
        f"{data.sampling.kind} sampling": data.sampling.kind != "centre",
        "random crops": augmentation.crop.kind == "random-resized",
        "flips": 0 < augmentation.flip_probability < 1,
        "grey clips": 0 < augmentation.grayscale_probability < 1,
        "RandAugment": augmentation.random_augment.kind != "none",
    }
    return [cause for cause, is_drawn in causes.items() if is_drawn]

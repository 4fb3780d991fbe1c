"""What the documents of all data sets have in common: how the files are checked and prepared."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from side4video.core.spec import Spec
from side4video.data.annotations.fingerprint import fingerprint_clips
from side4video.data.annotations.flip_labels import FlipByNameSpec, flipped_labels
from side4video.data.clip import TRAIN_AND_TEST, Clip, Split
from side4video.data.listing_once import listed_once
from side4video.data.storage import root_address


class DatasetSpec(Spec):
    """The base of the data sets' documents. A subclass has `kind`, `classes()` and `clips()`."""

    DEFAULT_CLASSES: ClassVar[int] = 0
    """Number of classes that plans assume if the files are not on this machine; 0: none is assumed."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        raise NotImplementedError

    def usual_classes(self) -> int:
        """Number of classes that plans assume if the files are not on this machine; 0: none is assumed."""
        return self.DEFAULT_CLASSES

    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Class names of each named head, such as `verb` and `noun`, in order; empty if clips have one class each."""
        return {}

    def head_names(self) -> tuple[str, ...]:
        """Names of the heads, from the document alone; empty if it does not say them, or there are none."""
        return ()

    def clips(self, split: Split) -> Sequence[Clip]:
        """The clips of a split, in order."""
        raise NotImplementedError

    def clips_of_classes(self, split: Split) -> Mapping[int, int]:
        """Number of clips of each class that occurs in a split, by its position."""
        return Counter(clip.label for clip in self.clips(split) if clip.label is not None)

    def splits(self) -> tuple[Split, ...]:
        """The splits that the data set has: training, test, and validation where it has one."""
        return TRAIN_AND_TEST

    def _root(self) -> str:
        """Folder or address that contains the files: by default the field `root`, if there is one."""
        root = getattr(self, "root", "")
        return root_address(root, "data.dataset.root") if root else ""

    @listed_once
    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a clip that is flipped horizontally, by label; labels that are not named keep theirs.

        None if labels contain left or right and no mapping is known: documents then may not flip clips.
        """
        return flipped_labels(FlipByNameSpec(), self.classes())

    def flipped_heads(self) -> tuple[Mapping[int, int], ...] | None:
        """The same for each head, in the order of `heads()`; None if one of them has no mapping."""
        flipped = [flipped_labels(FlipByNameSpec(), names) for names in self.heads().values()]
        known = tuple(each for each in flipped if each is not None)
        return known if len(known) == len(flipped) else None

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over classes and clips; see `fingerprint_clips`."""
        splits = {split: self.clips(split) for split in self.splits()}
        return fingerprint_clips(self.classes(), splits, self._root(), heads=self.heads())

    def check(self) -> None:
        """Read all lists and check that all files exist. No video is opened.

        Raises:
            InputError: As `clips` does.
        """
        for split in self.splits():
            self.clips(split)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:  # noqa: ARG002 - some sets report
        """Make what has to be made before the first clip is read; by default nothing, only `check`.

        `progress` is called with parts done and parts in all.
        """
        self.check()

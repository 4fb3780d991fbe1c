"""What the documents of all data sets have in common: how the files are checked and prepared."""

from collections.abc import Callable, Sequence

from side4video.core.spec import Spec
from side4video.data.clip import Clip, Split


class DatasetSpec(Spec):
    """The base of the data sets' documents. A subclass has `kind`, `classes()`, `clips()` and `fingerprint()`."""

    def clips(self, split: Split) -> Sequence[Clip]:
        """The clips of a split, in order."""
        raise NotImplementedError

    def check(self) -> None:
        """Read all lists and check that all files exist. No video is opened.

        Raises:
            InputError: As `clips` does.
        """
        self.clips("train")
        self.clips("test")

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:  # noqa: ARG002 - some sets report
        """Make what has to be made before the first clip is read; by default nothing, only `check`.

        Args:
            progress: Called with parts done and parts in all.
        """
        self.check()

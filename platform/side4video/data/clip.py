"""A clip: one sample of a data set, as data sets list it and streams read it."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "test"]
"""Training, validation (chooses epochs and arms) and test. A data set may lack `val`."""
TRAIN_AND_TEST: tuple[Split, ...] = ("train", "test")
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file, or a span of one, with its label and captions."""

    path: str
    """Address of the video file, or of the folder with its frames; see `storage.py`."""
    label: int | None
    """Index of its class in the classes of the data set; None without a label."""
    captions: tuple[str, ...] = ()
    """Sentences that describe it."""
    start_seconds: float | None = None
    """Start of the span in the file; None: the start of the file."""
    end_seconds: float | None = None
    """End of the span in the file (exclusive); None: the end of the file."""
    reversed: bool = False
    """Whether the frames are in reverse order."""
    group: str = ""
    """Source of the clip, for example the id of the full video. All clips of a group are in the same
    split."""
    frame_pattern: str = ""
    """File name pattern of the images in a folder of frames, counted from 1: `img_{:05d}.jpg`. Empty: a video file."""
    name: str = ""
    """Name of the clip that does not depend on where it is stored: its path below the common folder of its split.
    Empty: derived from `path`."""
    origin: str = ""
    """File and line that list the clip (`train.csv:12`), for messages."""
    labels: tuple[int, ...] | None = None
    """Indices of all its classes, ascending; empty if it has none of them. None: the data set gives single labels."""
    head_labels: tuple[int, ...] = ()
    """Index of its class for each head, in the order of `DatasetSpec.heads()`; empty if the data set has no heads."""

    @property
    def is_labelled(self) -> bool:
        """Whether its data set says anything of its classes."""
        return self.label is not None or self.labels is not None or bool(self.head_labels)

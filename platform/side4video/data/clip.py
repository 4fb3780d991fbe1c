"""One labelled piece of a video: what every data set yields and every stream reads."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file, or a span of one, with what is known of it."""

    path: str
    """The address of the video file, or of the folder of its frames; see `storage.py`."""

    label: int | None
    """Position of its class in the data set's classes; None where there is none."""

    captions: tuple[str, ...] = ()
    """Sentences that describe it."""

    start_seconds: float | None = None
    """Where the span begins; None is the file's begin."""

    end_seconds: float | None = None
    """Where the span ends (exclusive); None is the file's end."""

    reversed: bool = False
    """Whether its frames are played backwards."""

    group: str = ""
    """What it was cut from: clips of one group never stand on both sides of a split."""

    frame_pattern: str = ""
    """How the images in a folder of frames are named, counted from 1: `img_{:05d}.jpg`. Empty: a video file."""

    name: str = ""
    """What it is called wherever it is kept: its path below the common folder of its split's clips. Empty: its path
    says it."""

    origin: str = ""
    """File and line that list it (`train.csv:12`), for messages."""

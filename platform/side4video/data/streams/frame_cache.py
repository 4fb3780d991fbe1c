"""Frames of later epochs, fetched while a file is open anyway.

To decode a few frames of a compressed clip is to decode nearly all of it. Which frames the next epochs want of it is
known: a draw is a function of seed, epoch and clip. So one pass over a file fetches the frames of several epochs; those
of later ones wait on disk as they are, and are deleted when they are read. The batches are the same, bit by bit; only
where frames of a damaged file are missing, the neighbour that stands in for one may be another.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameCache:
    """What waits of a stream's clips; any decoding process may put it there, and any may take it."""

    folder: str
    epochs: int
    """Epochs of a clip's frames that are fetched in one pass."""

    def due(self, epoch: int, index: int) -> range:
        """The epochs to fetch now: up to the clip's next turn. Turns are spread, so that epochs take equally long."""
        return range(epoch, epoch + self.epochs - (epoch + index) % self.epochs)

    def take(self, epoch: int, index: int) -> np.ndarray | None:
        """The frames of a clip for an epoch, uint8 `[T, H, W, C]`, which then wait no longer; None where none do."""
        path = self._path(epoch, index)
        try:
            frames_THWC = np.load(path)
            path.unlink()
        except (OSError, ValueError, EOFError):  # never written, taken already, or cut short by a full disk
            return None
        return frames_THWC

    def put(self, epoch: int, index: int, frames_THWC: np.ndarray) -> None:
        """Let the frames wait; where there is no room, they are decoded again when their epoch comes."""
        path = self._path(epoch, index)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            with unfinished.open("wb") as file:
                np.save(file, frames_THWC)
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            logger.warning("frames of later epochs cannot be kept in %s: %s", self.folder, error.strerror)

    def _path(self, epoch: int, index: int) -> Path:
        return Path(self.folder, f"{epoch}-{index}.npy")

"""A cache on disk for the frames of later epochs, which are decoded together.

Decoding a few frames of a compressed clip costs nearly as much as decoding all of it. The frames that later epochs need
are known, because a draw depends only on seed, epoch and clip. So one pass over a file decodes the frames of several
epochs. Those of later epochs are stored uncompressed and deleted when they are read. The batches are bit-equal to those
without the cache; only for damaged files, the copy that replaces a missing frame may differ.

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
    """The cached frames of a stream. All decoding processes share them."""

    folder: str
    epochs: int
    """Number of epochs whose frames are decoded in one pass."""

    def due(self, epoch: int, index: int) -> range:
        """The epochs to decode now, until the clip's next turn.

        Turns are spread over epochs, so that epochs take equally long.
        """
        return range(epoch, epoch + self.epochs - (epoch + index) % self.epochs)

    def take(self, epoch: int, index: int) -> np.ndarray | None:
        """Return and delete the frames of a clip for an epoch, uint8 `[T, H, W, C]`; None if they are not cached."""
        path = self._path(epoch, index)
        try:
            frames_THWC = np.load(path)
            path.unlink()
        except (OSError, ValueError, EOFError):  # never written, taken already, or cut short by a full disk
            return None
        return frames_THWC

    def put(self, epoch: int, index: int, frames_THWC: np.ndarray) -> None:
        """Store frames. If the disk is full, they are decoded again when their epoch comes."""
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

"""Which frames of a clip are read: those that the sampling draws, and their neighbours.

Legend: T frames, K neighbours of a frame.
"""

from collections.abc import Callable

import numpy as np

from side4video.data.clip import Clip
from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.decode.frames import FrameSelector
from side4video.data.decode.sampling import OnePerSecondSampling
from side4video.data.spec import DataSpec

Draw = Callable[[int], np.ndarray]
"""Draws the frames of a clip from the number of frames that there are."""


class FrameChoice:
    """Chooses frames of clips as a data section says."""

    def __init__(self, spec: DataSpec, frames: ClipFrames) -> None:
        """`frames` reads the clips."""
        self.spec, self.frames = spec, frames

    def selector(self, clip: Clip, draw: Draw) -> FrameSelector:
        """Chooses the frames that `draw` draws, each between its neighbours.

        Raises:
            BrokenClip: The clip cannot be read.
        """
        if not isinstance(self.spec.sampling, OnePerSecondSampling):
            return lambda total: self._with_neighbours(draw(total), total)
        starts = self.frames.second_starts(clip)
        return lambda total: self._with_neighbours(np.minimum(starts[draw(len(starts))], total - 1), total)

    def mask(self, clip: Clip) -> np.ndarray | None:
        """False where a frame only fills up the clip of a short video [T]; None where all count.

        Raises:
            BrokenClip: The clip cannot be read.
        """
        if not isinstance(self.spec.sampling, OnePerSecondSampling):
            return None
        mask_T = np.arange(self.spec.frames) < len(self.frames.second_starts(clip))
        return mask_T[::-1].copy() if clip.reversed else mask_T

    def _with_neighbours(self, indices_T: np.ndarray, total: int) -> np.ndarray:
        reach = self.spec.neighbours
        if not reach:
            return indices_T
        around_TK = indices_T[:, None] + np.arange(-reach, reach + 1)
        return np.clip(around_TK, 0, total - 1).reshape(-1)


def split_neighbours(frames_THWC: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Sampled frames [T, H, W, C], and the frames before and after each [T, K, H, W, C], which lie in turn."""
    if not reach:
        return frames_THWC, None
    around_TKHWC = frames_THWC.reshape(-1, 2 * reach + 1, *frames_THWC.shape[1:])
    return around_TKHWC[:, reach], np.delete(around_TKHWC, reach, axis=1)

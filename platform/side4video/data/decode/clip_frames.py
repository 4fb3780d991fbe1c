"""The frames of a clip, from a video or a folder of images, optionally cached in memory.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

import numpy as np

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.augmentation import ExactResizeSpec
from side4video.data.decode.frame_folder import read_frame_folder
from side4video.data.decode.frames import FrameSelector, decode_frames, second_starts
from side4video.data.spec import DataSpec


class ClipFrames:
    """Reads chosen frames of clips, with or without a cache."""

    def __init__(self, spec: DataSpec) -> None:
        """Create an empty cache."""
        self.spec = spec
        self._kept: dict[tuple[object, ...], np.ndarray] = {}

    def read(self, clip: Clip, choose: FrameSelector) -> np.ndarray:
        """The chosen frames, uint8 `[T, H, W, C]`; a reversed clip's are the forward clip's, last one first.

        Raises:
            BrokenClip: The file cannot be decoded.
        """
        if self.spec.loader.cache == "none":
            frames_THWC = self._decode(clip, choose)
        else:
            key = (clip.path, clip.start_seconds, clip.end_seconds)
            if key not in self._kept:
                self._kept[key] = self._decode(clip, range)
            frames_THWC = self._kept[key][np.asarray(choose(len(self._kept[key])))]
        return frames_THWC[::-1] if clip.reversed else frames_THWC

    def second_starts(self, clip: Clip) -> np.ndarray:
        """Positions of the first frame of each second of a clip.

        Raises:
            BrokenClip: The file cannot be read, or has no times.
            InputError: The clip is a folder of images.
        """
        if clip.frame_pattern:
            raise InputError(
                "data.sampling",
                "one-per-second, and images in a folder have no times",
                allowed="videos for one-per-second",
                fix="take {kind: segment}",
            )
        return second_starts(
            clip.path, start_seconds=clip.start_seconds, end_seconds=clip.end_seconds, origin=clip.origin
        )

    def _decode(self, clip: Clip, choose: FrameSelector) -> np.ndarray:
        resize = self.spec.augmentation.resize
        short_side = None if isinstance(resize, ExactResizeSpec) else resize.short_side(self.spec.size)
        if clip.frame_pattern:
            return read_frame_folder(
                clip.path, choose, pattern=clip.frame_pattern, short_side=short_side, origin=clip.origin
            )
        frames_THWC, _ = decode_frames(
            clip.path,
            choose,
            decoder=self.spec.decoder,
            short_side=short_side,
            start_seconds=clip.start_seconds,
            end_seconds=clip.end_seconds,
            origin=clip.origin,
        )
        return frames_THWC

"""Antialiased resizing of uint8 frames, without threads.

torch's own kernel for bytes is ten times as fast as Pillow's. It is called frame by frame on contiguous pixels, because
only then it stays in the calling thread: elsewhere torch would start its thread pool for a millisecond's work, which on
a busy machine costs many times that.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

from typing import Literal

import numpy as np

Interpolation = Literal["bilinear", "bicubic"]


def resize_frames(
    frames_THWC: np.ndarray, size: tuple[int, int], *, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """Frames of another (height, width); the same array where the size fits already."""
    if frames_THWC.shape[1:3] == size:
        return frames_THWC
    from torch import from_numpy
    from torch.nn.functional import interpolate

    resized_THWC = np.empty((len(frames_THWC), *size, frames_THWC.shape[3]), dtype=np.uint8)
    for frame_HWC, resized_HWC in zip(frames_THWC, resized_THWC, strict=True):
        frame_1CHW = from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[None]
        resized_1CHW = interpolate(frame_1CHW, size, mode=interpolation, antialias=True)
        resized_HWC[:] = resized_1CHW[0].permute(1, 2, 0).numpy()
    return resized_THWC


def size_with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width whose shorter one is `short_side`, the aspect kept."""
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def shrink_frames(frames_THWC: np.ndarray, short_side: int | None) -> np.ndarray:
    """Frames whose short side has at most so many pixels: the same for all decoders, so that theirs stay identical."""
    height, width = frames_THWC.shape[1:3]
    if short_side is None or min(height, width) <= short_side:
        return frames_THWC
    return resize_frames(frames_THWC, size_with_short_side(height, width, short_side))

"""Clips that are given as frames in memory, in place of files.

Arrays carry shape suffixes: T frames, H W pixels, C channels (RGB).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.augmentation import ExactResizeSpec
from side4video.data.decode.frames import FrameSelector
from side4video.data.decode.transforms import shrink_frames
from side4video.data.spec import DataSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.reader import EvaluationKey, EvaluationReader

_DTYPES = "uint8 from 0 to 255, or floats from 0 to 1"


def is_array(value: object) -> bool:
    """Whether a value is a NumPy array or a torch tensor."""
    return isinstance(value, np.ndarray | Tensor)


def checked_frames(frames: Any, name: str) -> NDArray[Any]:
    """The frames of one clip `[T, H, W, 3]`, uint8 or floats, as an array on the CPU, not copied if they are there.

    `name` is that of the clip in messages.

    Raises:
        InputError: The shape or the dtype is another one.
    """
    array_THWC = _as_array(frames)
    shape = list(array_THWC.shape)
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise InputError(
            name,
            f"frames of the shape {shape}",
            allowed="[frames, height, width, 3], at least one frame of one clip, RGB",
            fix=_fix_of_shape(shape),
        )
    check_dtype(array_THWC, name)
    return array_THWC


def checked_frame(frame: Any, name: str) -> NDArray[np.uint8]:
    """One frame `[H, W, 3]` as uint8.

    Raises:
        InputError: The shape, the dtype or a value is another one.
    """
    array_HWC = _as_array(frame)
    shape = list(array_HWC.shape)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise InputError(
            name, f"a frame of the shape {shape}", allowed="[height, width, 3], RGB", fix=_fix_of_shape(shape)
        )
    check_dtype(array_HWC, name)
    return as_bytes(array_HWC, name)


def check_dtype(array: NDArray[Any], name: str) -> None:
    """Check that numbers are bytes or floats.

    Raises:
        InputError: They are not.
    """
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        fix = "frames.astype('uint8')" if np.issubdtype(array.dtype, np.integer) else ""
        raise InputError(name, f"frames of the type {array.dtype}", allowed=_DTYPES, fix=fix)


def as_bytes(frames: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Frames as uint8. Floats from 0 to 1 are rounded to the nearest of 256 levels, as a video file holds them.

    Raises:
        InputError: Floats are outside of 0 to 1, or no numbers.
    """
    if frames.dtype == np.uint8:
        return frames
    if not bool(((frames >= 0) & (frames <= 1)).all()):
        found = f"floats from {np.nanmin(frames):g} to {np.nanmax(frames):g}" if np.isfinite(frames).all() else "NaN"
        raise InputError(name, found, allowed=_DTYPES, fix="frames.astype('uint8') if they are from 0 to 255")
    return np.rint(frames.astype(np.float32) * 255).astype(np.uint8)


def shrink_short_side(spec: DataSpec) -> int | None:
    """To how many pixels decoders shrink the short side of frames before anything else; None: they do not."""
    resize = spec.augmentation.resize
    return None if isinstance(resize, ExactResizeSpec) else resize.short_side(spec.size)


class GivenFrames:
    """Reads chosen frames of clips in memory, as `data.decode.clip_frames.ClipFrames` does of files.

    A clip's path is its position in `clips`, which are arrays `[T, H, W, C]` or sequences of frames `[H, W, C]`.
    """

    def __init__(self, spec: DataSpec, clips: Sequence[Any], names: Sequence[str]) -> None:
        self.spec, self.clips, self.names = spec, clips, names

    def read(self, clip: Clip, choose: FrameSelector) -> NDArray[np.uint8]:
        """The chosen frames, uint8 `[T, H, W, C]`.

        Raises:
            InputError: Floats are outside of 0 to 1.
        """
        number = int(clip.path)
        frames = self.clips[number]
        chosen = np.asarray(choose(len(frames)))
        picked_THWC = frames[chosen] if is_array(frames) else np.stack([frames[position] for position in chosen])
        return shrink_frames(as_bytes(picked_THWC, self.names[number]), shrink_short_side(self.spec))


class GivenClips:
    """Batches of clips in memory (`engine.pack.EvaluationBatches`), with the views that files would have."""

    def __init__(self, spec: DataSpec, clips: Sequence[Any], *, batch_size: int, names: Sequence[str]) -> None:
        """`clips` and `names` are those of `GivenFrames`; `batch_size` counts temporal views."""
        self._reader = EvaluationReader(spec, [Clip(str(number), label=None) for number in range(len(clips))])
        self._reader.frames = GivenFrames(spec, clips, names)  # type: ignore[assignment]  # reads as `ClipFrames` does
        self._keys = [EvaluationKey(index, view) for index in range(len(clips)) for view in range(spec.views.clips)]
        self._batch_size = batch_size

    def batches(self) -> Iterator[ClipBatch]:
        """The batches, one after the other."""
        for start in range(0, len(self._keys), self._batch_size):
            yield self._reader.read(self._keys[start : start + self._batch_size])


def _as_array(frames: Any) -> NDArray[Any]:
    if isinstance(frames, Tensor):
        tensor = frames.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return np.asarray(frames)


def _fix_of_shape(shape: Sequence[int]) -> str:
    if len(shape) == 5:
        return "give a list of clips: list(frames)"
    if len(shape) >= 3 and shape[-1] != 3 and shape[-3] == 3:
        axes = "(0, 2, 3, 1)" if len(shape) == 4 else "(1, 2, 0)"
        return f"move the channels to the end: frames.transpose{axes} of an array, frames.permute{axes} of a tensor"
    if len(shape) == 3:
        return "numpy.stack(frames) makes one clip of a list of frames"
    return ""

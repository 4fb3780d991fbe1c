"""Predictions for a stream of frames: the newest seconds are classified again and again.

The memory does not grow: frames outside of the window are forgotten, and those inside are kept as small as the model
reads them.

Arrays carry shape suffixes: H W pixels, C channels (RGB).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from side4video.core.errors import InputError
from side4video.data.decode.transforms import shrink_frames
from side4video.inference.frame_source import TimedFrame

if TYPE_CHECKING:
    from side4video.inference.prediction import Prediction

WINDOW_SECONDS = 2.0
MAX_WINDOW_SECONDS = 86_400
EVERY = 8
MAX_RATE = 120
"""Frames per second of a window that are kept, at most: times that stand still would fill the memory."""
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class StreamPrediction:
    """What a model says of the newest seconds of a stream."""

    start_seconds: float
    """Time of the window's first frame, in seconds since the stream's first one."""
    end_seconds: float
    """Time of its last frame."""
    frame: int
    """Number of its last frame, from 0."""
    labels: tuple[tuple[str, float], ...]
    """The most likely classes with their scores, best first."""
    scores: "NDArray[np.float64]" = field(compare=False, repr=False)
    """The scores `[C]` of all classes, as in `Prediction`."""
    features: "NDArray[np.float32] | None" = field(default=None, compare=False, repr=False)
    """The network's features `[D]`, if they were asked for."""
    head_labels: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    """The most likely classes of each head; empty without heads."""


class SlidingWindow:
    """The frames of the newest seconds."""

    def __init__(self, seconds: float, *, short_side: int | None = None) -> None:
        """`short_side` is to how many pixels the short side of frames is shrunk; None: not at all.

        Raises:
            InputError: The window is not longer than 0 s.
        """
        if not 0 < seconds < math.inf:
            raise InputError("window_seconds", f"{seconds:g}", allowed="seconds, more than 0", fix="window_seconds=2.0")
        self.seconds, self._short_side = seconds, short_side
        self._held: deque[TimedFrame] = deque(maxlen=math.ceil(seconds * MAX_RATE) + 1)
        self._step = 0.0

    def add(self, seconds: float, frame_HWC: NDArray[np.uint8]) -> None:
        """Add the next frame, and forget those that are outside of the window now.

        Raises:
            InputError: Its size is another one than that of those before it.
        """
        if self._held:
            self._step = seconds - self._held[-1][0]
        shrunk_HWC = shrink_frames(frame_HWC[None], self._short_side)[0]
        if self._held and shrunk_HWC.shape != self._held[-1][1].shape:
            height, width = frame_HWC.shape[:2]
            raise InputError(
                f"frame at {seconds:.2f} s",
                f"{height} x {width} pixels, of another shape than the frames before it",
                allowed="frames of one shape in a stream",
                fix="resize the frames to one size, or begin another stream where the size changes",
            )
        # A copy, because whoever gives frames may write the next one into the same memory.
        self._held.append((seconds, shrunk_HWC.copy() if shrunk_HWC.shape == frame_HWC.shape else shrunk_HWC))
        while self._held[0][0] <= seconds - self.seconds + _TOLERANCE:
            self._held.popleft()

    @property
    def is_full(self) -> bool:
        """Whether it is as long as it may be."""
        span = self._held[-1][0] - self._held[0][0]
        return span + self._step >= self.seconds - _TOLERANCE or len(self._held) == self._held.maxlen

    @property
    def times(self) -> tuple[float, float]:
        """The times of the first and the last frame, in seconds."""
        return self._held[0][0], self._held[-1][0]

    @property
    def frames(self) -> list[NDArray[np.uint8]]:
        """The frames, oldest first."""
        return [frame_HWC for _, frame_HWC in self._held]


def predict_windows(
    frames: Iterable[TimedFrame],
    window: SlidingWindow,
    predict: "Callable[[Sequence[Any]], Prediction]",
    *,
    every: int,
) -> Iterator[StreamPrediction]:
    """A prediction when the window is full, and then after each `every` frames; of a shorter stream one at its end.

    `predict` classifies the frames of a window.
    """
    last, number = None, -1
    for number, (seconds, frame_HWC) in enumerate(frames):
        window.add(seconds, frame_HWC)
        if window.is_full and (last is None or number - last >= every):
            last = number
            yield _predict(window, predict, number)
    if last is None and number >= 0:
        yield _predict(window, predict, number)


def _predict(window: SlidingWindow, predict: "Callable[[Sequence[Any]], Prediction]", number: int) -> StreamPrediction:
    found = predict(window.frames)
    assert found.scores is not None  # noqa: S101 - frames in memory are never broken
    return StreamPrediction(*window.times, number, found.labels, found.scores, found.features, found.head_labels)

"""Decodes chosen frames with PyAV.

A frame's position comes from the decoder: a seek leads to a key frame that the index knows, and frames are counted from
there as they come out. A seek that led elsewhere is made again further back, at last from the start of the file.

Arrays carry shape suffixes: H W pixels, C channels (RGB).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

import numpy as np

from side4video.data.decode.container import open_container, video_stream
from side4video.data.decode.packet_decoder import Failures, decode_packets
from side4video.data.decode.transforms import shrink_frames
from side4video.data.decode.video_index import KeyFrame, VideoIndex, frame_checksum
from side4video.data.decode.video_source import Source

_SEEK_ATTEMPTS = 4
"""Key frames that are tried before a file is decoded from its start."""


class IndexMismatch(Exception):
    """The decoder gives other frames than the index says."""


def fetch_frames(
    source: Source, wanted: Sequence[int], index: VideoIndex, *, short_side: int | None
) -> dict[int, np.ndarray]:
    """Chosen frames, RGB uint8 `[H, W, 3]`, by position.

    Args:
        source: The file.
        wanted: Positions, ascending.
        index: The file's index.
        short_side: Shrink frames so that the short side has so many pixels; never enlarges.

    Raises:
        IndexMismatch: The decoder gives other frames than the index says, or cannot decode a packet that the index
            counts.
    """
    if not index.is_decoded and index.codec == "h264":
        try:
            return _Reader(source, index, short_side, skips=True).read(wanted)
        except IndexMismatch:  # skipping may have misled the decoder about the order
            pass
    try:
        return _Reader(source, index, short_side).read(wanted)
    except IndexMismatch:
        if not index.is_decoded:
            raise
    return _Reader(source, index, short_side, seeks=False).read(wanted)


def check_frames(source: Source, first: int, last: int, index: VideoIndex) -> None:
    """Decode the frames from `first` to `last` (exclusive), and keep none.

    Raises:
        IndexMismatch: They are not those that the index says, or one of them cannot be decoded.
    """
    _Reader(source, index, None, keeps=False).read(range(first, last))


class _Reader:
    """Reads forward; seeks only if there is a key frame between the current and the next chosen frame."""

    def __init__(
        self,
        source: Source,
        index: VideoIndex,
        short_side: int | None,
        *,
        skips: bool = False,
        seeks: bool = True,
        keeps: bool = True,
    ) -> None:
        self.source, self.index, self.short_side = source, index, short_side
        self.skips, self.seeks, self.keeps = skips, seeks, keeps
        self.keyframes = {keyframe.time: keyframe for keyframe in index.keyframes}
        self.failures = Failures()
        self.opened = ExitStack()
        self.needed: set[int] | None = None
        self.here = -1

    def read(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        frames: dict[int, np.ndarray] = {}
        remaining = set(wanted)
        if self.skips:
            self.needed = {int(self.index.times[position]) for position in wanted}
        decoded: Iterator[Any] | None = None
        with self.opened:
            self._open()
            for target in wanted:
                if decoded is None or self._can_jump(target):
                    decoded = self._start(target)
                # One iterator for as long as we read on: the last packet may hold several frames.
                while target in remaining:
                    if (frame := next(decoded, None)) is None:
                        raise IndexMismatch(self.failures.first or f"frame {target} of {len(self.index)} did not come")
                    if self.here in remaining:
                        if self.keeps:
                            frames[self.here] = _as_array(frame, self.index, self.short_side)
                        remaining.discard(self.here)
        return frames

    def _open(self) -> None:
        self.opened.close()
        self.container = self.opened.enter_context(open_container(self.source))
        self.stream = video_stream(self.container, "", "")
        self.is_fresh = True

    def _can_jump(self, target: int) -> bool:
        number = self.index.keyframe_before(target)
        return self.seeks and number >= 0 and self.index.keyframes[number].position > self.here + 1

    def _start(self, target: int) -> Iterator[Any]:
        """Frames from one at or before the target on."""
        number = self.index.keyframe_before(target) if self.seeks else -1
        for earlier in range(_SEEK_ATTEMPTS):
            if number - earlier < 0 or self.index.keyframes[number - earlier].position == 0:
                break
            self.is_fresh = False
            self.container.seek(self.index.keyframes[number - earlier].time, stream=self.stream)
            decoded = decode_packets(self.container, self.stream, self.failures, self.needed)
            frame = self._first_known(decoded, target)
            if frame is not None:
                return self._numbered(chain([frame], decoded), self.here)
        if not self.is_fresh:
            self._open()
        return self._numbered(decode_packets(self.container, self.stream, self.failures, self.needed), 0)

    def _first_known(self, decoded: Iterator[Any], target: int) -> Any:
        """The first key frame that comes, if the index knows it and it is not behind the target; `here` is set."""
        for frame in decoded:
            if frame.key_frame and not frame.is_corrupt:
                known = self.keyframes.get(frame.pts)
                if known is None or known.position > target or not _is_same(frame, known):
                    return None
                self.here = known.position
                return frame
        return None

    def _numbered(self, decoded: Iterator[Any], position: int) -> Iterator[Any]:
        """The frames, `here` set to the position of each.

        Raises:
            IndexMismatch: They are not those that the index says.
        """
        for frame in decoded:
            if self.index.is_decoded:
                known = self.keyframes.get(frame.pts) if frame.key_frame else None
                if position >= len(self.index) or (known is not None and known.position != position):
                    raise IndexMismatch(f"frame {position} is another one")
            else:
                position = self._position(frame, position)
            self.here = position
            yield frame
            position += 1

    def _position(self, frame: Any, expected: int) -> int:
        """The position of a frame by its time, which the packets told."""
        if self.failures.count:
            raise IndexMismatch(self.failures.first)
        times = self.index.times
        position = int(np.searchsorted(times, frame.pts)) if frame.pts is not None else len(times)
        is_known = position < len(times) and times[position] == frame.pts
        if not is_known or position < expected or (position > expected and not self.skips):
            raise IndexMismatch(f"frame {expected} is another one")
        if (frame.height, frame.width) != self.index.size:
            raise IndexMismatch(f"frame {position} has another size")
        return position


def _is_same(frame: Any, known: KeyFrame) -> bool:
    return known.checksum is None or known.checksum == frame_checksum(frame)


def _as_array(frame: Any, index: VideoIndex, short_side: int | None) -> np.ndarray:
    """RGB, upright, in the size of the file's first frame."""
    quarter_turns = round(frame.rotation / 90) % 4
    if (frame.height, frame.width) != index.size:
        frame = frame.reformat(width=index.size[1], height=index.size[0], format="rgb24")
    picture_HWC = frame.to_ndarray(format="rgb24", threads=1)
    if quarter_turns:
        picture_HWC = np.ascontiguousarray(np.rot90(picture_HWC, quarter_turns))
    return shrink_frames(picture_HWC[None], short_side)[0]

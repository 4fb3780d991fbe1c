"""Which frames a video holds, when each is shown, and where decoding can start.

Truth is what FFmpeg shows when it decodes the file from its first packet to its last. Two ways lead there:

- **By packets.** Reading packets costs a twentieth of decoding them. In MP4, MOV, Matroska and WebM each packet says
  itself when its frame is shown, and `_packets_tell_frames` names what else must hold for one packet to be one frame.
- **By frames.** For every other file (AVI, MPEG-TS, FLV, ...), where FFmpeg makes up times, counts and key frames, and
  for a file that turned out to be different from its packets, all frames are decoded once and counted.

Both are kept for the files read last, as long as the file does not change.
"""

import os
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from side4video.data.decode.container import error_text, open_container, video_stream
from side4video.data.decode.packet_decoder import Failures, decode_packets
from side4video.data.decode.packets import Packets, read_packets
from side4video.data.decode.video_source import BrokenClip, Source, open_source

MISSING_SHARE = 0.1
"""A file counts as truncated if more than this share of its frames is missing or cannot be decoded."""

_EVEN_FRAMES = 4.5
"""Times that are no farther, in frames, from even steps were made up, or rounded."""
_KEPT_FRAMES = 2_000_000
"""Frames of all indexes that are kept: 16 MB."""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame where decoding can start."""

    position: int
    time: int
    """When it is shown, in ticks, as the container says it: what is sought."""
    checksum: int | None = None
    """CRC-32 of its first plane, where frames were decoded: times that FFmpeg made up may differ after a seek."""


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a file, in the order in which they are shown."""

    times: np.ndarray
    """When each frame is shown, in ticks, int64."""
    keyframes: tuple[KeyFrame, ...]
    seconds_per_tick: float
    """The unit of `times`."""
    has_times: bool
    """Whether the file says when frames are shown; otherwise `times` counts frames."""
    is_decoded: bool = False
    """Whether all frames were decoded, or packets were read."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the first frame as it is stored, in pixels."""
    has_closed_groups: bool = False
    """Whether each key frame makes the decoder forget all frames before it, and none shown earlier is stored behind."""
    codec: str = ""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.times)

    def span(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """First frame and end (exclusive) of the frames shown in `[start, end)`, counted from the first frame.

        Raises:
            ValueError: The file does not say when frames are shown.
        """
        if start_seconds is None and end_seconds is None:
            return 0, len(self.times)
        if not self.has_times:
            raise ValueError("the file has no time stamps, so a span in seconds cannot be found in it")
        seconds = (self.times - self.times[0]) * self.seconds_per_tick + 1e-6
        first = 0 if start_seconds is None else bisect_left(seconds, start_seconds)
        last = len(seconds) if end_seconds is None else bisect_left(seconds, end_seconds)
        return first, last

    def seconds(self, position: int) -> float:
        """When a frame is shown, counted from the first frame."""
        return float(self.times[position] - self.times[0]) * self.seconds_per_tick

    def keyframe_before(self, position: int) -> int:
        """Number in `keyframes` of the last one at or before a frame; -1 if there is none."""
        return bisect_right(self.keyframes, position, key=lambda keyframe: keyframe.position) - 1


def read_index(path: str, origin: str = "") -> VideoIndex:
    """The frames of a file: by packets where they tell, else by decoding.

    Raises:
        BrokenClip: The file is missing, empty, truncated, or no video.
    """
    return index_of(open_source(path, origin), path, origin)


def index_of(source: Source, path: str, origin: str) -> VideoIndex:
    """`read_index` of a file that is open already."""

    def by_packets() -> VideoIndex:
        try:
            with open_container(source) as container:
                packets = read_packets(container, video_stream(container, path, origin))
        except BrokenClip:
            raise
        except Exception as error:  # whatever a damaged file does to the library
            raise _broken(path, origin, error) from error
        _refuse_truncated(packets, path, origin)
        return _packet_index(packets) if packets.tell_frames else decoded_index(source, path, origin)

    return _kept("packets", source, by_packets)


def decoded_index(source: Source, path: str, origin: str) -> VideoIndex:
    """The frames of a file, all of them decoded once.

    Raises:
        BrokenClip: No frame can be decoded, or more than `MISSING_SHARE` of the packets cannot.
    """

    def by_frames() -> VideoIndex:
        try:
            with open_container(source) as container:
                return _count_frames(container, video_stream(container, path, origin), path, origin)
        except BrokenClip:
            raise
        except Exception as error:
            raise _broken(path, origin, error) from error

    return _kept("frames", source, by_frames)


def _broken(path: str, origin: str, error: Exception) -> BrokenClip:
    from av.error import InvalidDataError

    return BrokenClip(path, origin, error_text(error), is_video=not isinstance(error, InvalidDataError))


def _refuse_truncated(packets: Packets, path: str, origin: str) -> None:
    if not packets.times:
        raise BrokenClip(path, origin, f"no video frame in it{packets.failure}")
    declared, read = packets.declared, packets.read
    if declared and read < (1 - MISSING_SHARE) * declared:
        reason = f"truncated: it promises {declared} frames and holds {read}{packets.failure}"
        raise BrokenClip(path, origin, reason)
    length, end = packets.length_seconds, packets.end_seconds
    if not declared and length and end < (1 - MISSING_SHARE) * length - 0.5:
        reason = f"truncated: it promises {length:.1f} s and ends after {end:.1f} s{packets.failure}"
        raise BrokenClip(path, origin, reason)


def _packet_index(packets: Packets) -> VideoIndex:
    times = np.sort(np.array(packets.times, dtype=np.int64))
    keyframes = tuple(KeyFrame(int(np.searchsorted(times, time)), time) for time in sorted(packets.keyframes))
    return VideoIndex(
        times=times,
        keyframes=keyframes,
        seconds_per_tick=packets.seconds_per_tick,
        has_times=True,
        size=packets.size,
        has_closed_groups=packets.has_closed_groups,
        codec=packets.codec,
    )


def _count_frames(container: Any, stream: Any, path: str, origin: str) -> VideoIndex:
    times: list[int | None] = []
    keyframes: list[KeyFrame] = []
    size, failures = (0, 0), Failures()
    for frame in decode_packets(container, stream, failures):
        size = size if times else (frame.height, frame.width)
        if frame.key_frame and not frame.is_corrupt and frame.pts is not None:
            keyframes.append(KeyFrame(len(times), frame.pts, frame_checksum(frame)))
        times.append(frame.pts)
    if not times:
        raise BrokenClip(path, origin, f"no frame of it can be decoded{failures.text()}")
    if failures.count > MISSING_SHARE * max(1, failures.packets):
        reason = f"damaged: {failures.count} of its {failures.packets} packets cannot be decoded{failures.text()}"
        raise BrokenClip(path, origin, reason)
    ticks, seconds_per_tick = _clean_times(times, container, stream)
    has_times = ticks is not None
    return VideoIndex(
        times=np.arange(len(times), dtype=np.int64) if ticks is None else ticks,
        keyframes=tuple(_unique(keyframes)),
        seconds_per_tick=seconds_per_tick if has_times else 0.0,
        has_times=has_times,
        is_decoded=True,
        size=size,
        codec=stream.codec_context.name,
    )


def _clean_times(times: list[int | None], container: Any, stream: Any) -> tuple[np.ndarray | None, float]:
    """When frames are shown, in ticks, and the seconds of one; none where nothing says it.

    AVI holds a frame rate and no times. In other containers FFmpeg makes up the times of some frames: if those that are
    known lie near to even steps, the frames are evenly spaced; else a time that is missing, or not after its
    predecessor's, lies between its neighbours.
    """
    rate = stream.average_rate or stream.guessed_rate
    count = np.arange(len(times), dtype=np.int64)
    if container.format.name == "avi" and rate:
        return count, float(1 / rate)
    known = [(position, time) for position, time in enumerate(times) if time is not None]
    if not known or stream.time_base is None:
        return None, 0.0
    tick = float(stream.time_base)
    positions, values = (np.array(column, dtype=float) for column in zip(*known, strict=True))
    if len(known) == len(times) and (np.diff(values) > 0).all():
        return values.astype(np.int64), tick
    step = float(1 / rate) / tick if rate else 0.0
    start = float(np.median(values - positions * step))
    if rate and np.abs(values - positions * step - start).max() <= _EVEN_FRAMES * step:
        return np.round(start + count * step).astype(np.int64), tick
    is_later = values > np.maximum.accumulate(np.concatenate([[-np.inf], values[:-1]]))
    positions, values = positions[is_later], values[is_later]
    filled = np.interp(count, positions, values) + np.maximum(0, count - positions[-1]) * step
    return np.round(filled - np.maximum(0, positions[0] - count) * step).astype(np.int64), tick


def _unique(keyframes: list[KeyFrame]) -> list[KeyFrame]:
    """Key frames whose time no other has: others cannot be told apart after a seek."""
    seen: dict[int, int] = {}
    for keyframe in keyframes:
        seen[keyframe.time] = seen.get(keyframe.time, 0) + 1
    return [keyframe for keyframe in keyframes if seen[keyframe.time] == 1]


def frame_checksum(frame: Any) -> int:
    """CRC-32 of the first plane of a frame, without the padding of its rows."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return zlib.crc32(rows[: plane.height, : plane.width].tobytes())


_index_cache: "OrderedDict[tuple[str, str, int, int], VideoIndex]" = OrderedDict()
_index_cache_lock = threading.Lock()
"""Clips of two streams may be read in two threads at once."""


def _kept(way: str, source: Source, read: Callable[[], VideoIndex]) -> VideoIndex:
    """The index that was read before from the same version of a local file."""
    if not isinstance(source, str):
        return read()
    status = os.stat(source)  # noqa: PTH116 - one call per clip, paths are text here
    key = (way, source, status.st_size, status.st_mtime_ns)
    with _index_cache_lock:
        if (index := _index_cache.get(key)) is not None:
            _index_cache.move_to_end(key)
            return index
    index = read()
    with _index_cache_lock:
        _index_cache[key] = index
        while len(_index_cache) > 1 and sum(len(each) for each in _index_cache.values()) > _KEPT_FRAMES:
            _index_cache.popitem(last=False)
    return index

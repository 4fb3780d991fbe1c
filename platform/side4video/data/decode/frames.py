"""Decodes frames of a video file to uint8 arrays, with one of several decoders.

PyAV reads the index of the file first (packets only, about a twentieth of the cost of decoding a short clip): the true
number of frames and when each is shown. Then the selected decoder reads the chosen frames. So spans, frame counts and
errors do not depend on the decoder, and all decoders give bit-identical frames.

Readers are opened and closed within one call, because a reader that is created in one process and used in another can
hang.

Arrays carry shape suffixes: T frames, H W pixels, C channels (RGB).
"""

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from side4video.core.errors import InputError
from side4video.data.decode.transforms import shrink_frames
from side4video.data.decode.video_source import BrokenClip, Source, as_file, open_source

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]

FrameSelector = Callable[[int], Sequence[int] | np.ndarray]
"""Chooses frames: maps the number of frames in the span to indices, in any order, with repeats."""

MISSING_SHARE = 0.1
"""A file counts as truncated if it has less than this share of its declared frames missing."""

MAX_PIXELS = 2**25
"""Largest number of pixels of a frame: 8K video fits. A damaged header may declare a thousand times more."""

_BATCH_BYTES = 64 * 2**20
_NOT_A_VIDEO = ("tty", "image2", "hls", "concat", "concatf", "subtitle", "srt", "webvtt")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodeInfo:
    """Facts about decoded frames."""

    total_frames: int
    """Number of frames in the span."""
    decoder: str
    """The decoder that was used."""
    padded_frames: int = 0
    """Chosen frames that could not be decoded and were replaced by a copy of another frame."""


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a file as its packets describe them, in order of presentation."""

    times: tuple[int, ...]
    """Presentation time of each frame, in ticks."""
    keyframes: tuple[int, ...]
    """Times of the key frames, where decoding can start."""
    seconds_per_tick: float
    """The unit of `times`."""
    has_times: bool
    """Whether the file has time stamps; otherwise `times` counts frames."""

    def span(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """First frame and end (exclusive) of the frames shown in `[start, end)`, counted from the first frame."""
        if start_seconds is None and end_seconds is None:
            return 0, len(self.times)
        if not self.has_times:
            raise ValueError("the file has no time stamps, so a span in seconds cannot be found in it")
        seconds = [(time - self.times[0]) * self.seconds_per_tick + 1e-6 for time in self.times]
        first = 0 if start_seconds is None else bisect_left(seconds, start_seconds)
        last = len(seconds) if end_seconds is None else bisect_left(seconds, end_seconds)
        return first, last


def decode_frames(
    path: str,
    choose: FrameSelector,
    *,
    decoder: DecoderName = "auto",
    short_side: int | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    origin: str = "",
) -> tuple[np.ndarray, DecodeInfo]:
    """Decode chosen frames of a file, or of a span of it.

    Args:
        path: The address of the video file; see `storage.py`.
        choose: Called once with the true number of frames in the span; gives indices into the span.
        decoder: `auto` is PyAV, which skips what no wanted frame builds on. What others cannot do is retried with it.
        short_side: Shrink frames so that the short side has so many pixels, the aspect kept; never enlarges.
        start_seconds: Begin of the span.
        end_seconds: End of the span, exclusive.
        origin: Where the clip is listed, for the message.

    Returns:
        Frames, uint8 `[T, H, W, 3]`, in the order of the indices, and what was decoded.

    Raises:
        BrokenClip: The file is missing, empty, truncated, or no video; one line says which.
        InputError: The decoder asked for by name is not installed.
    """
    source = open_source(path, origin)
    index = _read_index(source, path, origin)
    try:
        first, last = index.span(start_seconds, end_seconds)
    except ValueError as error:
        raise BrokenClip(path, origin, str(error)) from error
    if last <= first:
        length = (index.times[-1] - index.times[0]) * index.seconds_per_tick
        span = f"{start_seconds or 0:g} s to {'the end' if end_seconds is None else f'{end_seconds:g} s'}"
        raise BrokenClip(path, origin, f"no frame from {span}: its last frame is shown at {length:.2f} s")
    requested = [first + int(position) for position in choose(last - first)]
    if not requested or min(requested) < first or max(requested) >= last:
        raise IndexError(f"choose({last - first}) gave {len(requested)} indices, some outside 0..{last - first - 1}")
    ordered = sorted(set(requested))
    try:
        found, used = _fetch(source, ordered, index=index, decoder=decoder, short_side=short_side)
    except _DecodeError as error:
        raise BrokenClip(path, origin, str(error)) from error
    if len(found) < (1 - 2 * MISSING_SHARE) * len(ordered):
        raise BrokenClip(path, origin, f"only {len(found)} of {len(ordered)} wanted frames could be decoded")
    have = sorted(found)
    nearest = [have[max(0, bisect_right(have, position) - 1)] for position in requested]
    frames_THWC = np.stack([found[position] for position in nearest])
    padded = sum(position not in found for position in requested)
    return frames_THWC, DecodeInfo(last - first, used, padded)


def read_index(path: str, origin: str = "") -> VideoIndex:
    """The index of a file. Reads packets only.

    Raises:
        BrokenClip: The file is missing, empty, truncated, or no video.
    """
    return _read_index(open_source(path, origin), path, origin)


def _read_index(source: Source, path: str, origin: str) -> VideoIndex:
    import av
    from av.error import FFmpegError, InvalidDataError

    try:
        with av.open(as_file(source), options={"protocol_whitelist": "file"}) as container:
            names = container.format.name.split(",")
            if any(name in _NOT_A_VIDEO or name.endswith("_pipe") for name in names):
                raise BrokenClip(
                    path, origin, f"it is not a video file (format {container.format.name})", is_video=False
                )
            streams = [stream for stream in container.streams.video if not _is_cover(stream)]
            if not streams:
                kind = "audio only" if container.streams.audio else "no audio or video in it"
                raise BrokenClip(path, origin, f"no video stream: {kind}", is_video=False)
            if (codec := streams[0].codec_context) is None:
                raise BrokenClip(path, origin, "its codec is not known")
            if codec.width * codec.height > MAX_PIXELS:
                raise BrokenClip(path, origin, f"its header claims frames of {codec.width} x {codec.height} pixels")
            return _index_packets(container, streams[0])
    except (FFmpegError, ValueError, IndexError) as error:
        is_known = not isinstance(error, InvalidDataError)
        raise BrokenClip(path, origin, _error_text(error), is_video=is_known) from error
    except _TruncatedError as error:
        raise BrokenClip(path, origin, str(error)) from error


class _TruncatedError(Exception):
    pass


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is the cover picture of a music file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _index_packets(container: Any, stream: Any) -> VideoIndex:
    import av
    from av.error import FFmpegError

    declared = stream.frames
    times: list[int | None] = []
    keyframes: list[int] = []
    read, end_seconds, failure = 0, 0.0, ""
    # Without a promised count, only the length of all streams together says whether the file is whole.
    packets = container.demux(stream) if declared else container.demux()
    try:
        for packet in packets:
            if packet.size and packet.pts is not None and packet.time_base is not None:
                end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if not packet.size or packet.stream_index != stream.index:
                continue
            read += 1
            if not packet.is_discard:
                times.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    keyframes.append(packet.pts)
    except FFmpegError as error:
        failure = f": {_error_text(error)}"
    if not times:
        raise _TruncatedError(f"no video frame in it{failure}")
    if declared and read < (1 - MISSING_SHARE) * declared:
        raise _TruncatedError(f"truncated: it promises {declared} frames and holds {read}{failure}")
    # Matroska's length may count from zero, where the first frame is shown later.
    start = 0 if "matroska" in container.format.name else max(0, container.start_time or 0)
    length = ((container.duration or 0) + start) / av.time_base
    if not declared and length and end_seconds < (1 - MISSING_SHARE) * length - 0.5:
        raise _TruncatedError(f"truncated: it promises {length:.1f} s and ends after {end_seconds:.1f} s{failure}")
    if any(time is None for time in times) or len(set(times)) < len(times) or stream.time_base is None:
        return VideoIndex(tuple(range(len(times))), (), 0.0, has_times=False)
    ordered = tuple(sorted(time for time in times if time is not None))
    return VideoIndex(ordered, tuple(sorted(keyframes)), float(stream.time_base), has_times=True)


class _DecodeError(Exception):
    pass


def _fetch(
    source: Source, requested: list[int], *, index: VideoIndex, decoder: DecoderName, short_side: int | None
) -> tuple[dict[int, np.ndarray], str]:
    """The chosen frames that could be decoded, and the decoder that was used."""
    from av.error import FFmpegError

    if decoder == "auto":
        decoder = "pyav"
    if decoder == "decord":
        frames = _fetch_decord(source, requested, len(index.times), short_side)
        if frames is not None:
            return frames, "decord"
    if decoder == "torchcodec":
        frames = _fetch_torchcodec(source, requested, len(index.times), short_side)
        if frames is not None:
            return frames, "torchcodec"
    try:
        return _fetch_pyav(source, requested, index, short_side), "pyav"
    except (FFmpegError, ValueError, IndexError) as error:
        raise _DecodeError(_error_text(error)) from error


def _fetch_decord(
    source: Source, requested: list[int], total: int, short_side: int | None
) -> dict[int, np.ndarray] | None:
    """None if decord fails or counts other frames than the index; PyAV is used then."""
    decord = _import_decoder("decord")
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(as_file(source), num_threads=1)
        if len(reader) != total:
            return None
        frames: dict[int, np.ndarray] = {}
        position, size = 0, 1
        while position < len(requested):
            some = requested[position : position + size]
            batch_THWC = reader.get_batch(some).asnumpy()
            frames.update(zip(some, shrink_frames(batch_THWC, short_side), strict=True))
            position += len(some)
            size = max(1, _BATCH_BYTES // max(1, batch_THWC[0].nbytes))
        return frames
    except (RuntimeError, decord.DECORDError) as error:
        logger.debug("decord cannot decode %s, trying PyAV: %s", _source_name(source), _error_text(error))
        return None


def _fetch_torchcodec(
    source: Source, requested: list[int], total: int, short_side: int | None
) -> dict[int, np.ndarray] | None:
    """None if torchcodec fails."""
    decoders = _import_decoder("torchcodec.decoders")
    try:
        reader = decoders.VideoDecoder(source, dimension_order="NHWC", num_ffmpeg_threads=1)
        if len(reader) != total:
            return None
        frames_THWC = reader.get_frames_at(requested).data.numpy()
        return dict(zip(requested, shrink_frames(frames_THWC, short_side), strict=True))
    except (RuntimeError, ValueError, IndexError) as error:
        logger.debug("torchcodec cannot decode %s, trying PyAV: %s", _source_name(source), _error_text(error))
        return None


def _import_decoder(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            "data.decoder",
            f"{name.split('.')[0]} cannot be loaded here: {error}",
            allowed="auto, decord, pyav, torchcodec",
            fix="install it, or choose auto",
        ) from error


def _source_name(source: Source) -> str:
    return source if isinstance(source, str) else f"a video of {len(source):,} bytes"


def _fetch_pyav(
    source: Source, requested: list[int], index: VideoIndex, short_side: int | None
) -> dict[int, np.ndarray]:
    frames = _decode_pyav(source, requested, index, short_side=short_side, skips=index.has_times)
    if index.has_times and len(frames) < len(requested):  # skipping may have misled the decoder about the order
        frames |= _decode_pyav(source, requested, index, short_side=short_side, skips=False)
    return frames


def _decode_pyav(
    source: Source, requested: list[int], index: VideoIndex, *, short_side: int | None, skips: bool
) -> dict[int, np.ndarray]:
    """Decode forward; seek only if there is a key frame between the current and the next chosen frame."""
    import av

    position_of = {time: position for position, time in enumerate(index.times)}
    frames: dict[int, np.ndarray] = {}
    remaining = set(requested)
    with av.open(as_file(source), "r", options={"protocol_whitelist": "file"}) as container:
        stream = next(stream for stream in container.streams.video if not _is_cover(stream))
        stream.thread_type = "NONE"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        times = {index.times[position] for position in requested} if skips and stream.name == "h264" else None
        decoded = _iterate_frames(container, stream, times)
        here = -1
        for target in requested:
            if index.has_times and here < target and (key := _seek_time(index, here, target)) is not None:
                container.seek(key, stream=stream)
                decoded = _iterate_frames(container, stream, times)
            # One iterator for as long as we read on: the last packet may hold several frames.
            while here < target and (frame := next(decoded, None)) is not None:
                here = position_of.get(frame.pts or 0, here + 1) if index.has_times else here + 1
                if here in remaining:
                    frames[here] = _as_array(frame, short_side)
                    remaining.discard(here)
    return frames


def _iterate_frames(container: Any, stream: Any, times: set[int] | None) -> Iterator[Any]:
    """The following frames. If times are given, other frames are decoded only if frames may depend on them."""
    for packet in container.demux(stream):
        if times is not None:
            is_needed = not packet.size or packet.pts in times
            stream.codec_context.skip_frame = "DEFAULT" if is_needed else "NONREF"
        yield from packet.decode()


def _seek_time(index: VideoIndex, here: int, target: int) -> int | None:
    """The time of the last key frame at or before the target, if it is ahead of the current frame."""
    at = bisect_right(index.keyframes, index.times[target]) - 1
    if at < 0:
        return None
    key = index.keyframes[at]
    return key if here < 0 or key > index.times[here] else None


def _as_array(frame: Any, short_side: int | None) -> np.ndarray:
    picture_HWC = frame.to_ndarray(format="rgb24", threads=1)
    quarter_turns = round(frame.rotation / 90) % 4
    if quarter_turns:
        picture_HWC = np.ascontiguousarray(np.rot90(picture_HWC, quarter_turns))
    return shrink_frames(picture_HWC[None], short_side)[0]


def _error_text(error: Exception) -> str:
    """The last part of a decoder's message, on one line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:160] or type(error).__name__

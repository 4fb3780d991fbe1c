"""A video, or a folder of frames, written again: the same frames at the same times, smaller and quicker to read.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.data.clip import Clip
from side4video.data.decode.frame_folder import read_frame_folder
from side4video.data.decode.frame_names import count_frames
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_index import read_index
from side4video.data.decode.video_source import BrokenClip
from side4video.data.storage import read_bytes

Codec = Literal["h264", "mjpeg", "copy"]
FOLDER_FRAMES_PER_SECOND = 12
"""Of folders of frames, which have no times; Something-Something V1 was cut so."""
_DECODED_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Encoding:
    """How videos are written."""

    codec: Codec = "h264"
    """`h264` is small; `mjpeg` is several times as large, and each frame is decoded alone; `copy` leaves each
    file as it is."""
    short_side: int = 256
    """Pixels of the shorter side, at most; the aspect is kept, nothing is enlarged."""
    quality: int = 20
    """Of `h264`, the constant rate factor (0 is lossless, 18 looks so); of `mjpeg`, the quantiser scale (2 is best)."""
    keyframes: int = 16
    """Frames from one of which decoding can start to the next, of `h264`."""


@dataclass(frozen=True, slots=True)
class Job:
    """A video to be written, and where to."""

    clip: Clip
    """Whole: no span, forward."""
    encoding: Encoding
    target: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of it."""

    bytes: int = 0
    sha256: str = ""
    broken: str = ""
    """Why it could not be decoded."""


def write_video(job: Job) -> Written:
    """Write the video to its target, whole or not at all."""
    try:
        content = read_bytes(job.clip.path) if job.encoding.codec == "copy" else _encode(job.clip, job.encoding)
    except BrokenClip as error:
        return Written(broken=error.reason)
    except OSError as error:
        return Written(broken=str(error.strerror or error))
    write_atomically(Path(job.target), content)
    return Written(len(content), hashlib.sha256(content).hexdigest())


def _encode(clip: Clip, encoding: Encoding) -> bytes:
    import av

    times, tick = _times(clip)
    seconds = (times[-1] - times[0]) * tick if len(times) > 1 else Fraction(1, FOLDER_FRAMES_PER_SECOND)
    rate = (max(1, len(times) - 1) / seconds).limit_denominator(1001)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = None
        for first, frames_THWC in _frames(clip, len(times), encoding.short_side):
            for number, frame_HWC in enumerate(frames_THWC, first):
                frame_HWC = _even(frame_HWC)
                stream = stream or _add_stream(container, frame_HWC, encoding, tick=tick, rate=rate)
                frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
                frame.pts, frame.time_base = times[number] - times[0], tick
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def _times(clip: Clip) -> tuple[list[int], Fraction]:
    """When each frame is shown, in ticks, and the seconds of one."""
    if clip.frame_pattern:
        return list(range(count_frames(clip.path, clip.frame_pattern))), Fraction(1, FOLDER_FRAMES_PER_SECOND)
    index = read_index(clip.path, clip.origin)
    if not index.has_times:
        raise BrokenClip(clip.path, clip.origin, "the file has no time stamps; pack it with --codec copy")
    return index.times.tolist(), Fraction(index.seconds_per_tick).limit_denominator(10**6)


def _frames(clip: Clip, total: int, short_side: int) -> Iterator[tuple[int, np.ndarray]]:
    """All frames, some at a time, each time with the number of the first."""
    first, size = 0, 1
    while first < total or first == 0:
        indices = range(first, min(total, first + size))
        frames_THWC = _read(clip, indices, short_side)
        yield first, frames_THWC
        first += len(indices)
        size = max(1, _DECODED_BYTES // frames_THWC[0].nbytes)


def _read(clip: Clip, indices: range, short_side: int) -> np.ndarray:
    if clip.frame_pattern:
        return read_frame_folder(
            clip.path, lambda _: indices, pattern=clip.frame_pattern, short_side=short_side, origin=clip.origin
        )
    return decode_frames(clip.path, lambda _: indices, short_side=short_side, origin=clip.origin)[0]


def _even(frame_HWC: np.ndarray) -> np.ndarray:
    """With an even number of rows and columns, as the codecs' chroma wants them: the last ones are left out."""
    height, width = (side // 2 * 2 for side in frame_HWC.shape[:2])
    return np.ascontiguousarray(frame_HWC[:height, :width])


def _add_stream(container: Any, frame_HWC: np.ndarray, encoding: Encoding, *, tick: Fraction, rate: Fraction) -> Any:
    from av.error import FFmpegError

    name = {"h264": "libx264", "mjpeg": "mjpeg"}[encoding.codec]
    try:
        stream = container.add_stream(name, rate=rate)
    except (FFmpegError, ValueError) as error:
        raise InputError("--codec", f"{encoding.codec} cannot be written here: {error}", allowed="copy") from error
    stream.height, stream.width = frame_HWC.shape[:2]
    # Frames keep the times of the original, even where they are not evenly spaced.
    stream.codec_context.time_base = tick
    stream.codec_context.thread_count = 1  # the same bytes on every machine; processes work side by side
    if encoding.codec == "h264":
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = encoding.keyframes
        # x264's usual code for some processors reads memory that it never wrote, and differs from that for others.
        same_bytes = {"x264-params": "cpu-independent=1"}
        options = {"preset": "fast", "crf": str(encoding.quality), "tune": "fastdecode", **same_bytes}
        stream.codec_context.options = options
    else:
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.options = {"qmin": str(encoding.quality), "qmax": str(encoding.quality)}
    return stream

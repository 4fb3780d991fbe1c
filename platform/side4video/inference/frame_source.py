"""Frames of a stream with their times: a camera, a video file, an address, or what a program gives.

Arrays carry shape suffixes: H W pixels, C channels (RGB).
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.core.arguments import found_type
from side4video.core.errors import InputError
from side4video.data.decode.container import FORMATS, error_text, open_container, video_stream
from side4video.data.decode.video_source import BrokenClip, open_source
from side4video.inference.given_frames import checked_frame

TimedFrame = tuple[float, NDArray[np.uint8]]
"""Seconds since the first frame, and a frame uint8 `[H, W, C]`."""
Opener = Callable[[str], Any]
"""Opens an address as an input container of PyAV."""

USUAL_RATE = 25.0
"""Frames per second, where nothing says it."""
_TIMEOUT_SECONDS = (15.0, 30.0)
"""To connect to an address, and between two frames."""
_HTTP, _RTSP = ("http://", "https://"), ("rtsp://", "rtsps://")


def frames_of(
    source: "int | str | Path | Iterable[Any]", *, rate: float = USUAL_RATE, open_camera: Opener | None = None
) -> Iterator[TimedFrame]:
    """The frames of a source, one after the other.

    Args:
        source: The number of a camera, a video file, an address (`https://`, `rtsp://`), or frames `[H, W, 3]`.
        rate: Frames per second of frames that are given; others have their own times.
        open_camera: Opens the device of a camera; by default PyAV does.

    Raises:
        InputError: It is none, it cannot be opened, or a frame cannot be decoded or is none.
    """
    if isinstance(source, bool | bytes | Mapping) or not isinstance(source, int | str | Path | Iterable):
        allowed = "the number of a camera, a video file, an address, or frames one after the other"
        raise InputError("source", found_type(source), allowed=allowed, fix='stream("clip.mp4")')
    if isinstance(source, int):
        return _decoded(f"camera {source}", lambda name: (open_camera or _open_camera)(_device(source, name)), rate)
    if isinstance(source, str | Path):
        return _decoded(str(source), _open_address, rate)
    return _given(source, rate)


def _given(frames: Iterable[Any], rate: float) -> Iterator[TimedFrame]:
    for number, frame in enumerate(frames):
        yield number / rate, checked_frame(frame, f"frame {number}")


def _decoded(name: str, opener: Opener, rate: float) -> Iterator[TimedFrame]:
    from av.error import FFmpegError

    try:
        container = opener(name)
    except BrokenClip as error:  # its fix is one of a document, which a stream has not
        raise InputError(name, f"it cannot be opened: {error.reason}", fix="check the path or the address") from error
    except (FFmpegError, ValueError, OSError) as error:
        raise InputError(name, f"it cannot be opened: {error_text(error)}", fix="check the address") from error
    with closing(container):
        stream = video_stream(container, name, "")
        step = 1.0 / float(stream.average_rate or rate)
        first: float | None = None
        seconds = -step
        try:
            for frame in container.decode(stream):
                if frame.time is None:
                    seconds += step
                else:
                    first = frame.time - max(0.0, seconds) if first is None else first
                    seconds = max(seconds, frame.time - first)  # a clock that was set back stands still
                yield seconds, _upright(frame)
        except (FFmpegError, ValueError) as error:
            raise InputError(
                name, f"reading stopped after {max(0.0, seconds):.1f} s: {error_text(error)}", fix="start it again"
            ) from error


def _upright(frame: Any) -> NDArray[np.uint8]:
    picture_HWC = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture_HWC, turns)) if turns else picture_HWC


def _open_address(address: str) -> Any:
    """A file, a video on a web server, or a network camera; formats that name other files are refused.

    Raises:
        FFmpegError: It cannot be opened.
        InputError: It is no video by its first bytes, or there is no such file.
    """
    import av

    if address.startswith(_HTTP):
        allowed = {"protocol_whitelist": "http,https,httpproxy,tls,tcp", "format_whitelist": ",".join(FORMATS)}
        return av.open(address, "r", timeout=_TIMEOUT_SECONDS, metadata_errors="ignore", options=allowed)
    if address.startswith(_RTSP):
        allowed = {"protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls", "format_whitelist": "rtsp"}
        return av.open(address, "r", format="rtsp", timeout=_TIMEOUT_SECONDS, metadata_errors="ignore", options=allowed)
    return open_container(open_source(address, ""))


def _open_camera(device: str) -> Any:
    import av

    return av.open(device, "r", format="v4l2", timeout=_TIMEOUT_SECONDS)


def _device(number: int, name: str) -> str:
    """The file of a camera.

    Raises:
        InputError: There is none, or this system has no such files.
    """
    if not sys.platform.startswith("linux"):
        raise InputError(
            name, f"cameras are read on Linux only, and this is {sys.platform}", fix="give frames to Model.stream"
        )
    device = Path(f"/dev/video{number}")
    if number < 0 or not device.exists():
        found = sorted(Path("/dev").glob("video[0-9]*"))
        cameras = ", ".join(each.name.removeprefix("video") for each in found) or "this machine has no camera"
        raise InputError(name, f"there is no {device}", allowed=cameras, fix="check that it is plugged in")
    return str(device)

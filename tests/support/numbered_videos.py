"""Videos of every container, codec and structure, each frame of which shows its own number.

A frame is 4 x 4 squares: the top left one is red, the top right one blue, and 14 are the bits of the number.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_BITS = [(row, column) for row in range(4) for column in range(4) if (row, column) not in ((0, 0), (0, 3))]
RATE = 25


def numbered_frame(number: int, height: int, width: int) -> np.ndarray:
    """A frame, RGB uint8 `[H, W, 3]`."""
    cells = np.full((4, 4, 3), 40, np.uint8)
    cells[0, 0], cells[0, 3] = (220, 30, 30), (30, 30, 220)
    for bit, cell in enumerate(_BITS):
        if number >> bit & 1:
            cells[cell] = 215
    rows, columns = (np.arange(side) * 4 // side for side in (height, width))
    return np.ascontiguousarray(cells[rows][:, columns])


def number_of(frame_HWC: np.ndarray) -> int:
    """The number that an upright frame shows; -1 for a frame that is not upright."""
    height, width = frame_HWC.shape[:2]

    def mean(row: int, column: int) -> np.ndarray:
        top, left = height * row // 4, width * column // 4
        inner_rows, inner_columns = height // 16, width // 16
        part = frame_HWC[
            top + inner_rows : height * (row + 1) // 4 - inner_rows,
            left + inner_columns : width * (column + 1) // 4 - inner_columns,
        ]
        return part.reshape(-1, 3).mean(0, dtype=float)

    red, blue = mean(0, 0), mean(0, 3)
    if red[0] < red[2] + 50 or blue[2] < blue[0] + 50:
        return -1
    return sum(1 << bit for bit, cell in enumerate(_BITS) if mean(*cell).mean() > 128)


@dataclass(frozen=True)
class Recipe:
    """How a video is made."""

    container: str
    codec: str
    frames: int = 40
    group: int = 10
    """Frames from key frame to key frame, at most."""
    b_frames: int = 0
    options: dict[str, str] = field(default_factory=dict)
    start_seconds: float = 0.0
    quarter_turns: int = 0
    size: tuple[int, int] = (48, 64)
    """Height and width."""
    container_options: dict[str, str] = field(default_factory=dict)
    times: tuple[int, ...] = ()
    """When frames are shown, in 25ths of a second; evenly spaced if empty."""

    def __str__(self) -> str:
        """A name for a file and for messages."""
        options = [f"{key}={value}" for key, value in {**self.options, **self.container_options}.items()]
        parts = [self.container, self.codec, f"g{self.group}", f"b{self.b_frames}", *options]
        parts += [f"at{self.start_seconds:g}"] if self.start_seconds else []
        parts += [f"turned{self.quarter_turns}"] if self.quarter_turns else []
        parts += ["x".join(map(str, self.size[::-1]))] + (["uneven"] if self.times else [])
        return " ".join(parts)


_PIXELS = {
    "mjpeg": "yuvj420p", "prores": "yuv422p10le", "dnxhd": "yuv422p", "huffyuv": "yuv422p", "gif": "rgb8",
    "ffv1": "yuv420p", "png": "rgb24", "rawvideo": "yuv420p",
}  # fmt: skip
_SIMPLE = {"libx264": {"preset": "veryfast", "qp": "16"}, "libx265": {"preset": "ultrafast"}}
_X265 = "log-level=none:pools=none:frame-threads=1:qp=16"


def write(recipe: Recipe, path: Path) -> Path:
    """Write the video of a recipe."""
    height, width = recipe.size
    with av.open(str(path), "w", format=recipe.container, options=recipe.container_options) as file:
        stream = file.add_stream(recipe.codec, rate=RATE)
        stream.width, stream.height = width, height
        stream.pix_fmt = _PIXELS.get(recipe.codec, "yuv420p")
        context = stream.codec_context
        context.thread_count, context.gop_size = 1, recipe.group
        options = {**_SIMPLE.get(recipe.codec, {}), **recipe.options}
        if recipe.codec == "libx265":
            options["x265-params"] = ":".join([_X265, *filter(None, [options.pop("x265-params", "")])])
            options["x265-params"] += f":keyint={recipe.group}:bframes={recipe.b_frames}"
        elif recipe.codec.startswith("libvpx"):
            options = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "1M", **options}
        elif recipe.codec == "libsvtav1":
            options = {"preset": "12", "crf": "20", "svtav1-params": "lp=1", **options}
        elif recipe.codec not in ("libx264", "ffv1", "png", "huffyuv", "prores", "gif", "dnxhd", "rawvideo"):
            options = {"qmin": "2", "qmax": "4", **options}
        if recipe.b_frames and recipe.codec != "libx265":
            options["bf"] = str(recipe.b_frames)
        elif recipe.codec == "libx264":
            options["bf"] = "0"
        stream.options = options
        start = round(recipe.start_seconds * RATE)
        for number in range(recipe.frames):
            shown_size = (width, height) if recipe.quarter_turns % 2 else (height, width)
            stored_HWC = np.rot90(numbered_frame(number, *shown_size), -recipe.quarter_turns)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored_HWC), format="rgb24")
            frame.pts = start + (recipe.times[number] if recipe.times else number)
            frame.time_base = Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    if recipe.quarter_turns:
        _turn(path, recipe.quarter_turns)
    return path


_ONE = 1 << 16
_MATRICES = {1: (0, -_ONE, _ONE, 0), 2: (-_ONE, 0, 0, -_ONE), 3: (0, _ONE, -_ONE, 0)}


def _turn(path: Path, quarter_turns: int) -> None:
    """Write another display matrix into the track header of an MP4 or MOV."""
    a, b, c, d = _MATRICES[quarter_turns]
    raw = bytearray(path.read_bytes())
    begin = raw.index(b"tkhd") + 44
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    raw[begin : begin + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(raw)


def decoded_plainly(path: Path, quarter_turns: int = 0, size: tuple[int, int] | None = None) -> list[int]:
    """The numbers that FFmpeg shows when it decodes the file from begin to end."""
    numbers = []
    with av.open(str(path), metadata_errors="ignore") as file:
        stream = file.streams.video[0]
        stream.thread_type = "NONE"
        for frame in file.decode(stream):
            if size and (frame.height, frame.width) != size:
                frame = frame.reformat(width=size[1], height=size[0], format="rgb24")
            picture_HWC = frame.to_ndarray(format="rgb24")
            numbers.append(number_of(np.rot90(picture_HWC, quarter_turns) if quarter_turns else picture_HWC))
    return numbers


def _bits(*parts: tuple[int, int]) -> bytes:
    text = "".join(f"{value:0{width}b}" for value, width in parts)
    text += "0" + "1" * (7 - len(text) % 8)  # MPEG-4's stuffing: a zero, then ones up to the byte's end
    return int(text, 2).to_bytes(len(text) // 8, "big")


def write_packed_b_frames(path: Path, frames: int = 41, group: int = 12) -> Path:
    """An AVI as DivX and XviD wrote it: a B-frame in the packet of the frame it is coded behind, then a packet that
    only says that nothing is new."""
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, RATE), Fraction(RATE)
    encoder.gop_size, encoder.options = group, {"bf": "1", "b_strategy": "0", "qmin": "2", "qmax": "3"}
    coded = []
    for number in range(frames):
        frame = av.VideoFrame.from_ndarray(numbered_frame(number, 48, 64), format="rgb24")
        frame.pts = number
        coded += [bytes(packet) for packet in encoder.encode(frame)]
    coded += [bytes(packet) for packet in encoder.encode()]
    header, packed = bytes(encoder.extradata or b""), []
    for data in coded:
        kind = data[data.rindex(b"\0\0\1\xb6") + 4] >> 6
        if kind == 2 and packed:  # a B-frame
            packed[-1] += data
            packed.append(b"\0\0\1\xb6" + _bits((1, 2), (0, 1), (1, 1), (0, 5), (1, 1), (0, 1)))
        else:
            packed.append(data)
    at = packed[0].rindex(b"\0\0\1\xb6")
    packed[0] = header + packed[0][:at] + b"\0\0\1\xb2DivX503b1393p" + packed[0][at:]
    with av.open(str(path), "w", format="avi") as file:
        stream = file.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, data in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            packet.is_keyframe = data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 0
            file.mux(packet)
    return path

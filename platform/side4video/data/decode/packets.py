"""The packets of a video, and whether they tell its frames without decoding."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from side4video.data.decode.container import error_text

_FORMATS_WITH_TIMES = frozenset({"mov", "mp4", "matroska", "webm"})
"""Each packet says itself when its frame is shown. In all others FFmpeg makes up some of the times."""
_ONE_FRAME_A_PACKET = frozenset(
    {"h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "dnxhd", "ffv1", "png"}
)
"""Codecs that store one frame a packet. For VP8, VP9 and MPEG-4 each packet is looked into."""
_REORDERED = frozenset({"h264", "hevc", "mpeg4"})
_UNKNOWN_OR_PROGRESSIVE = (0, 1)
"""Values of FFmpeg's AVFieldOrder where a packet is no single field of an interlaced frame."""


@dataclass
class Packets:
    """What reading all packets of a video stream said."""

    codec: str
    size: tuple[int, int]
    """Height and width in pixels, as the header says them."""
    seconds_per_tick: float
    """0 if the file does not say it."""
    declared: int
    """Frames that the header promises; 0 if it says nothing."""
    length_seconds: float
    """Time of the end as the header says it; 0 if it says nothing."""
    times: list[int] = field(default_factory=list)
    """When the frame of each packet is shown, in ticks, as stored. Packets without a time are left out."""
    keyframes: list[int] = field(default_factory=list)
    """Times of the packets where decoding can start."""
    read: int = 0
    """Packets that are there."""
    end_seconds: float = 0.0
    """Time of the last packet's end."""
    failure: str = ""
    """Why reading stopped early, with a colon before it."""
    tell_frames: bool = True
    """Whether each packet is one frame, shown at the packet's time."""
    has_closed_groups: bool = True
    """Whether each key frame makes the decoder forget all frames before it, and none shown earlier is stored behind."""
    has_no_delay: bool = True
    """Whether each frame is shown at once when it was decoded."""
    first_time: int | None = None
    last_keyframe: int | None = None

    def add(self, packet: Any) -> None:
        """Note one packet."""
        self.read += 1
        if packet.pts is None or packet.is_corrupt or not _holds_one_frame(self.codec, packet):
            self.tell_frames = False
            if packet.pts is None:
                return
        self.has_no_delay = self.has_no_delay and packet.pts == packet.dts
        if self.first_time is None or self.last_keyframe is None:
            self.first_time = self.last_keyframe = packet.pts
            self.tell_frames = self.tell_frames and packet.is_keyframe
        self.tell_frames = self.tell_frames and packet.pts >= self.first_time
        self.has_closed_groups = self.has_closed_groups and packet.pts >= self.last_keyframe
        if packet.is_keyframe:
            self.last_keyframe = packet.pts
            self.has_closed_groups = self.has_closed_groups and _refreshes_decoder(self.codec, packet)
        if packet.is_discard:
            return
        self.times.append(packet.pts)
        if packet.is_keyframe:
            self.keyframes.append(packet.pts)


def read_packets(container: Any, stream: Any) -> Packets:
    """All packets of a stream. Nothing is decoded."""
    import av
    from av.error import FFmpegError

    codec, formats = stream.codec_context, set(container.format.name.split(","))
    # The length counts from the first frame in MP4 and MOV, from zero in others.
    start = max(0, container.start_time or 0) if "mov" in formats else 0
    found = Packets(
        codec=codec.name,
        size=(codec.height, codec.width),
        seconds_per_tick=float(stream.time_base or 0),
        declared=stream.frames,
        length_seconds=((container.duration or 0) + start) / av.time_base,
    )
    # Without a promised count, only the length of all streams together says whether the file is whole.
    packets = container.demux(stream) if stream.frames else container.demux()
    try:
        for packet in packets:
            if packet.size and packet.pts is not None and packet.time_base is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                found.end_seconds = max(found.end_seconds, end)
            if packet.size and packet.stream_index == stream.index:
                found.add(packet)
    except (FFmpegError, ValueError) as error:
        found.failure = f": {error_text(error)}"
    has_all = not found.failure and found.declared in (0, found.read) and found.seconds_per_tick > 0
    ordered = sorted(found.times)
    has_distinct_times = all(one < other for one, other in pairwise(ordered))
    # A stream with reordered frames cannot show each at once; Matroska's tracks in the manner of AVI have AVI's times.
    is_made_up = codec.name in _REORDERED and bool(codec.has_b_frames) and found.has_no_delay
    is_made_up = is_made_up or ("matroska" in formats and bool(codec.codec_tag.strip("\0")))
    may_hold_fields = codec.name == "h264" and codec.field_order not in _UNKNOWN_OR_PROGRESSIVE
    found.tell_frames = (
        found.tell_frames
        and has_all
        and has_distinct_times
        and not is_made_up
        and not may_hold_fields
        and bool(formats & _FORMATS_WITH_TIMES)
        and codec.name in _ONE_FRAME_A_PACKET
    )
    return found


def _holds_one_frame(codec: str, packet: Any) -> bool:
    """Whether the packet holds one frame that is shown, as far as its first bytes say."""
    if codec == "vp8":
        return bool(bytes(packet)[0] >> 4 & 1)  # RFC 6386, section 9.1: show_frame
    if codec == "vp9":
        return _shows_one_vp9_frame(bytes(packet))
    if codec == "mpeg4":  # ISO 14496-2: a video object plane begins so; one of a few bytes repeats the frame before it
        return packet.size > 20 and bytes(packet).count(b"\0\0\1\xb6") == 1
    return True


def _refreshes_decoder(codec: str, packet: Any) -> bool:
    """Whether a key frame is one of the kind (IDR) behind which nothing refers to what was before.

    H.264 and HEVC only, as MP4 stores them: units, each behind its length in 4 bytes.
    """
    if codec not in ("h264", "hevc"):
        return True
    data, at, kinds = memoryview(packet), 0, set()
    while at + 4 < len(data):
        first = data[at + 4]
        kinds.add(first & 31 if codec == "h264" else first >> 1 & 63)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return bool(kinds & ({5} if codec == "h264" else {19, 20}))


def _shows_one_vp9_frame(data: bytes) -> bool:
    """Whether exactly one frame of a VP9 packet is shown (VP9 bitstream specification, annex B and section 6.2)."""
    marker = data[-1]
    count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    begin = len(data) - (2 + size_bytes * count)
    if marker & 0b1110_0000 != 0b1100_0000 or begin < 0 or data[begin] != marker:
        return _is_shown_vp9(data[0])
    shown, at = 0, 0
    for number in range(count):
        first = begin + 1 + number * size_bytes
        length = int.from_bytes(data[first : first + size_bytes], "little")
        if length and at < begin:
            shown += _is_shown_vp9(data[at])
        at += length
    return shown == 1


def _is_shown_vp9(first_byte: int) -> bool:
    """From frame_marker (2 bits), profile (2, one more where both are set), show_existing_frame, frame_type, show."""
    bits = f"{first_byte:08b}"
    rest = bits[5:] if bits[2:4] == "11" else bits[4:]
    return rest[0] == "1" or rest[2] == "1"

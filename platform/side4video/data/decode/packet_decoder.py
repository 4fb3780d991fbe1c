"""Decodes the packets of a video one after the other, as FFmpeg does: what cannot be decoded is passed over."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from side4video.data.decode.container import error_text


@dataclass
class Failures:
    """Packets that could not be decoded."""

    packets: int = 0
    """Packets seen."""
    count: int = 0
    first: str = ""
    """Where the first failed, and why."""

    def text(self) -> str:
        """The first failure, with a colon before it; empty if there is none."""
        return f": {self.first}" if self.first else ""

    def add(self, where: str, error: Exception) -> None:
        """Count a failure."""
        self.count += 1
        self.first = self.first or f"{where}, {error_text(error)}"


def decode_packets(container: Any, stream: Any, failures: Failures, needed: Set[int] | None = None) -> Iterator[Any]:
    """All frames from here to the end, in the order in which they are shown.

    Args:
        container: The open file.
        stream: Its video stream.
        failures: Packets that cannot be decoded are counted here.
        needed: Times in ticks; other frames are decoded only if frames may depend on them. None decodes all.
    """
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, ValueError) as error:
            failures.add("reading stopped", error)
            packet = None
        if packet is not None and not packet.size:
            packet = None
        if packet is not None:
            failures.packets += 1
        if needed is not None:
            is_needed = packet is None or packet.pts in needed
            stream.codec_context.skip_frame = "DEFAULT" if is_needed else "NONREF"
        try:
            yield from stream.codec_context.decode(packet)
        except EOFError:
            return
        except (FFmpegError, ValueError) as error:
            time = packet.pts if packet is not None and packet.time_base is not None else None
            at = "" if packet is None or time is None else f" at {float(time * packet.time_base):.2f} s"
            failures.add(f"packet {failures.packets}{at}", error)
        if packet is None:
            return

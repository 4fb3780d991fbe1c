"""Decodes frames of a video file to uint8 arrays, with one of several decoders.

The index of the file says how many frames it holds and when each is shown; see `video_index.py`. Then the selected
decoder reads the chosen frames. So spans, frame counts and errors do not depend on the decoder, and all decoders give
bit-identical frames.

Readers are opened and closed within one call, because a reader that is created in one process and used in another can
hang.

Arrays carry shape suffixes: T frames, H W pixels, C channels (RGB).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from side4video.core.errors import InputError
from side4video.data.decode.container import DecoderName, error_text
from side4video.data.decode.other_decoders import fetch_with
from side4video.data.decode.pyav_frames import IndexMismatch, check_frames, fetch_frames
from side4video.data.decode.video_index import VideoIndex, decoded_index, index_of
from side4video.data.decode.video_source import BrokenClip, Source, open_source

FrameSelector = Callable[[int], Sequence[int] | np.ndarray]
"""Chooses frames: maps the number of frames in the span to indices, in any order, with repeats."""


@dataclass(frozen=True)
class DecodeInfo:
    """Facts about decoded frames."""

    total_frames: int
    """Number of frames in the span."""
    decoder: str
    """The decoder that was used."""


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
        choose: Called with the number of frames in the span; gives indices into the span. Called once more if decoding
            shows that the file holds another number than its packets said.
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
    clip = _Clip(source, path, origin, start_seconds, end_seconds)
    index = index_of(source, path, origin)
    first, total, requested = clip.choose(index, choose)
    try:
        found, used = _fetch(source, requested, index=index, decoder=decoder, short_side=short_side)
    except IndexMismatch as mismatch:
        # The file is not what its packets say, or a packet is damaged: its frames are counted by decoding all.
        other = index if index.is_decoded else decoded_index(source, path, origin)
        if other is index:
            raise BrokenClip(path, origin, str(mismatch)) from mismatch
        again = clip.span(other)
        if again != (first, total):
            first, total, requested = clip.choose(other, choose)
        try:
            found, used = _fetch(source, requested, index=other, decoder="pyav", short_side=short_side)
        except IndexMismatch as error:
            raise BrokenClip(path, origin, str(error)) from error
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file does to a library
        raise BrokenClip(path, origin, error_text(error)) from error
    return np.stack([found[position] for position in requested]), DecodeInfo(total, used)


def second_starts(
    path: str, *, start_seconds: float | None = None, end_seconds: float | None = None, origin: str = ""
) -> np.ndarray:
    """Positions, within the span, of the first frame of each of its seconds; from the file's index, nothing is decoded.

    Raises:
        BrokenClip: The file is missing, truncated or no video, or does not say when its frames are shown.
    """
    source = open_source(path, origin)
    index = index_of(source, path, origin)
    if not index.has_times:
        raise BrokenClip(path, origin, "the file has no time stamps, so there is no first frame of a second")
    first, total = _Clip(source, path, origin, start_seconds, end_seconds).span(index)
    times = index.times[first : first + total]
    # A frame that is shown a rounding error before a second begins belongs to it.
    seconds = (times - times[0]) * index.seconds_per_tick + 1e-6
    return np.searchsorted(seconds, np.arange(int(seconds[-1]) + 1))


def check_span(
    path: str, *, start_seconds: float | None = None, end_seconds: float | None = None, origin: str = ""
) -> None:
    """Decode every frame of a file, or of a span of it: what `decode_frames` may be asked for.

    Raises:
        BrokenClip: The file is refused, whichever frames are chosen or for some of them.
    """
    source = open_source(path, origin)
    clip = _Clip(source, path, origin, start_seconds, end_seconds)
    index = index_of(source, path, origin)
    first, total = clip.span(index)
    if index.is_decoded:
        return
    try:
        check_frames(source, first, first + total, index)
    except IndexMismatch:
        clip.span(decoded_index(source, path, origin))
    except Exception as error:  # whatever a damaged file does to a library
        raise BrokenClip(path, origin, error_text(error)) from error


@dataclass(frozen=True)
class _Clip:
    """A span of a file."""

    source: Source
    path: str
    origin: str
    start_seconds: float | None
    end_seconds: float | None

    def span(self, index: VideoIndex) -> tuple[int, int]:
        """Its first frame, and the number of its frames."""
        try:
            first, last = index.span(self.start_seconds, self.end_seconds)
        except ValueError as error:
            raise BrokenClip(self.path, self.origin, str(error)) from error
        if last <= first:
            end = "the end" if self.end_seconds is None else f"{self.end_seconds:g} s"
            length = index.seconds(len(index) - 1)
            reason = f"no frame from {self.start_seconds or 0:g} s to {end}: its last frame is shown at {length:.2f} s"
            raise BrokenClip(self.path, self.origin, reason)
        return first, last - first

    def choose(self, index: VideoIndex, choose: FrameSelector) -> tuple[int, int, list[int]]:
        """The span, and the positions of the chosen frames."""
        first, total = self.span(index)
        requested = [first + int(position) for position in choose(total)]
        if not requested or min(requested) < first or max(requested) >= first + total:
            raise IndexError(f"choose({total}) gave {len(requested)} indices, some outside 0..{total - 1}")
        return first, total, requested


def _fetch(
    source: Source, requested: list[int], *, index: VideoIndex, decoder: DecoderName, short_side: int | None
) -> tuple[dict[int, np.ndarray], str]:
    """The chosen frames, and the decoder that was used."""
    ordered = sorted(set(requested))
    if decoder == "decord" or decoder == "torchcodec":
        frames = fetch_with(decoder, source, ordered, index, short_side=short_side)
        if frames is not None:
            return frames, decoder
    return fetch_frames(source, ordered, index, short_side=short_side), "pyav"

"""Looks into a sample of videos: size, frame rate, length, and which of them cannot be read. It ends in seconds."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

from side4video.core.text import format_length
from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.clip import Clip
from side4video.data.storage import byte_range, is_remote

SAMPLE = 64
"""Most videos that are opened."""
SECONDS = 4.0
"""Longest time to open videos."""
_VIDEO_SECONDS = 2.0
_IMPORT_SECONDS = 60.0
"""Longest time to open one video; a decoder may hang on it."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What opening a video said of it."""

    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    """Frames a second; 0 if nothing says it."""
    seconds: float = 0.0
    """How long it is; 0 if nothing says it."""
    problem: str = ""
    """Why it cannot be read."""

    @property
    def frames(self) -> float:
        """Its frames, as far as frame rate and length say; 0 if they do not."""
        return self.frame_rate * self.seconds


@dataclass(frozen=True)
class VideoSample:
    """What was seen of some videos."""

    videos: int
    """All videos, those that were not opened too."""
    facts: dict[str, VideoFacts] = field(default_factory=dict)
    """Of those that were opened, by path."""

    @property
    def good(self) -> list[VideoFacts]:
        """Those that can be read."""
        return [each for each in self.facts.values() if not each.problem]

    @property
    def broken(self) -> dict[str, str]:
        """The paths of those that cannot be read, and why."""
        return {path: each.problem for path, each in self.facts.items() if each.problem}

    @property
    def broken_share(self) -> float:
        """The share of opened videos that cannot be read, 0 to 1."""
        return len(self.broken) / len(self.facts) if self.facts else 0.0

    def as_text(self) -> str:
        """One line for people."""
        if not self.facts:
            return "none was opened"
        said = f"{len(self.facts)} of {self.videos:,} were opened"
        said += f", {len(self.broken)} of them cannot be read" if self.broken else ", all can be read"
        if not self.good:
            return said
        sizes = Counter((each.width, each.height) for each in self.good)
        (width, height), _ = sizes.most_common(1)[0]
        parts = [f"{width}x{height}" if len(sizes) == 1 else f"mostly {width}x{height}"]
        if rates := [each.frame_rate for each in self.good if each.frame_rate]:
            parts.append(f"{median(rates):.3g} frames/s")
        if lengths := [each.seconds for each in self.good if each.seconds]:
            low, high = format_length(min(lengths)), format_length(max(lengths))
            parts.append(low if low == high else f"{low} to {high}")
        return f"{', '.join(parts)}; {said}"


Opener = Callable[[Sequence[str], float], Iterator[tuple[str, VideoFacts]]]
"""Opens videos within so many seconds; yields those that it came to."""


def look_at_videos(clips: Sequence[Clip], *, seconds: float = SECONDS, opener: Opener | None = None) -> VideoSample:
    """Open a sample of the videos of clips, evenly spread over them.

    Videos in archives, on remote stores and in folders of frames are not opened. `seconds` is the longest time, and
    `opener` what opens them, processes of their own by default.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips if _is_file(clip)))
    size = min(SAMPLE, len(paths))
    chosen = [paths[number * len(paths) // size] for number in range(size)]
    end, facts = 0.0, {}
    with closing((opener or open_in_processes)(chosen, seconds)) as opened:  # type: ignore[type-var] - generators close
        for path, found in opened:
            facts[path] = found
            end = (
                end or time.monotonic() + seconds
            )  # from the first answer on: processes start slowly on a busy machine
            if time.monotonic() > end:
                break
    return VideoSample(len(paths), facts)


def open_in_processes(paths: Sequence[str], seconds: float) -> Iterator[tuple[str, VideoFacts]]:
    """See `Opener`. A video on which a decoder hangs or dies costs one process, and is told as broken."""
    with WorkerPool(min(2, len(paths)) or 1) as pool:
        # Else the first videos would have to wait for the decoder's import, and be called broken on a busy machine.
        for _ in pool.map_unordered(_import_decoder, range(2), limit_seconds=_IMPORT_SECONDS, chunk_size=1):
            pass
        limit = min(_VIDEO_SECONDS, seconds)
        for path, found in pool.map_unordered(open_video, paths, limit_seconds=limit, chunk_size=1):
            yield path, VideoFacts(problem=found.reason) if isinstance(found, JobFailed) else found


def _import_decoder(number: int) -> None:
    """Import in a process what opening a video needs."""
    del number
    from side4video.data.decode import container, video_source  # noqa: F401 - imported to be there


def open_video(path: str) -> VideoFacts:
    """What the header of a video says, after its first frame was decoded."""
    from side4video.data.decode.container import error_text, open_container, video_stream
    from side4video.data.decode.video_source import BrokenClip, open_source

    try:
        with open_container(open_source(path, "")) as container:
            stream = video_stream(container, path, "")
            frame = next(iter(container.decode(stream)), None)
            if frame is None:
                return VideoFacts(problem="no frame in it")
            rate = stream.average_rate or stream.guessed_rate or 0
            length = container.duration / 1_000_000 if container.duration else 0.0
            return VideoFacts(frame.width, frame.height, float(rate), max(0.0, length))
    except BrokenClip as error:
        return VideoFacts(problem=error.reason)
    except Exception as error:  # whatever a damaged file does to the library
        return VideoFacts(problem=error_text(error))


def _is_file(clip: Clip) -> bool:
    return not (clip.frame_pattern or is_remote(clip.path) or byte_range(clip.path))

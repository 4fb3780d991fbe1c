"""What a process of the check does with one file or clip. Nothing of it needs torch.

Legend: T frames, H, W pixels, C channels.
"""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.augmentation import AugmentationSpec, ExactResizeSpec
from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.decode.frame_folder import check_frame_folder
from side4video.data.decode.frames import check_span
from side4video.data.decode.video_source import BrokenClip, open_source
from side4video.data.spec import DataSpec, LoaderSpec
from side4video.data.storage import (
    byte_range,
    file_size,
    is_folder,
    is_remote,
    join_address,
    list_folder,
    modified_ns,
    read_bytes,
)
from side4video.inference.video_folder import duration_seconds

THUMBNAIL_FRAMES = 3
"""Frames of a clip on the contact sheet."""
THUMBNAIL_SIDE = 112
"""Pixels of the longer side of each."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells one version of a file from another; of a folder of frames, all its files together."""

    bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What decoding a clip said of it."""

    frames: int = 0
    """Of its span."""
    width: int = 0
    height: int = 0
    """Pixels, as they are in the file."""
    seconds: float | None = None
    """How long it is; None where nothing says it, as of folders of frames."""
    broken: str = ""
    """Why it cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Target:
    """A clip to be decoded, and how runs decode."""

    clip: Clip
    data: DataSpec


def without_augmentation(data: DataSpec) -> DataSpec:
    """The section with frames left at the size of their file, each decoded when it is asked for."""
    return data.model_copy(update={"augmentation": AugmentationSpec(resize=ExactResizeSpec()), "loader": LoaderSpec()})


def file_version(clip: Clip) -> FileVersion | None:
    """The stamp of a clip's file or folder of frames; None where it is not there, or is the other of the two."""
    try:
        if is_remote(clip.path) or byte_range(clip.path):
            return _remote_version(clip)
        status = os.stat(clip.path)  # noqa: PTH116 - many files: no Path object for each
        if stat.S_ISDIR(status.st_mode) != bool(clip.frame_pattern):
            return None
        if not clip.frame_pattern:
            return FileVersion(status.st_size, status.st_mtime_ns)
        sizes = [os.stat(path).st_size for path in _files_of(clip.path)]  # noqa: PTH116
    except OSError:
        return None
    return FileVersion(sum(sizes), status.st_mtime_ns)


def hash_file(clip: Clip) -> str:
    """SHA-256 (hexadecimal) of the bytes of a clip's file, or of its frames' in the order of their names.

    What cannot be read gives an empty text; decoding it says why.
    """
    whole = hashlib.sha256()
    try:
        if is_remote(clip.path) or byte_range(clip.path):
            for address in _addresses_of(clip):
                whole.update(read_bytes(address))
            return whole.hexdigest()
        for path in _files_of(clip.path) if clip.frame_pattern else [clip.path]:
            with open(path, "rb") as file:  # noqa: PTH123
                hashlib.file_digest(file, lambda: whole)
    except OSError:
        return ""
    return whole.hexdigest()


def _remote_version(clip: Clip) -> FileVersion | None:
    """The stamp of what is not a whole file or folder of this machine."""
    sizes = [file_size(address) for address in _addresses_of(clip)]
    if not sizes or None in sizes:
        return None
    return FileVersion(sum(size or 0 for size in sizes), modified_ns(clip.path))


def _addresses_of(clip: Clip) -> list[str]:
    """The clip's file, or the files of its folder of frames; none where there is no such folder."""
    if not clip.frame_pattern:
        return [clip.path]
    if not is_folder(clip.path):
        return []
    return [join_address(clip.path, entry.name) for entry in list_folder(clip.path) if not entry.is_folder]


def _files_of(folder: str) -> Iterator[str]:
    with os.scandir(folder) as files:
        yield from sorted(entry.path for entry in files)


def probe_clip(target: Target) -> ClipFacts:
    """Decode the frames that the first test view of a run would see, and all those that training may draw."""
    clip, data = target.clip, target.data
    total = 0

    def choose(frames: int) -> np.ndarray:
        nonlocal total
        total = frames
        return data.sampling.test_indices(frames, data.frames)

    try:
        frames_THWC = ClipFrames(data).read(clip, choose)
        if clip.frame_pattern:
            check_frame_folder(clip.path, pattern=clip.frame_pattern, origin=clip.origin)
        else:
            span = {"start_seconds": clip.start_seconds, "end_seconds": clip.end_seconds}
            check_span(clip.path, **span, origin=clip.origin)
    except BrokenClip as error:
        return ClipFacts(total, broken=error.reason)
    except InputError:  # the decoder that the document names is not there
        raise
    except Exception as error:  # whatever a damaged file does to a library, the other files are to be looked at
        return ClipFacts(total, broken=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
    height, width = frames_THWC.shape[1:3]
    return ClipFacts(total, width, height, _seconds(clip))


def _seconds(clip: Clip) -> float | None:
    if clip.frame_pattern:
        return None
    whole = duration_seconds(open_source(clip.path, clip.origin))
    if whole is None and clip.end_seconds is None:
        return None
    end = min(whole or float("inf"), clip.end_seconds or float("inf"))
    return max(0.0, end - (clip.start_seconds or 0.0))


def make_thumbnail(target: Target) -> bytes:
    """Frames from begin, middle and end beside each other, as a JPEG; nothing where the clip cannot be decoded."""
    from PIL import Image

    try:
        frames_THWC = ClipFrames(target.data).read(
            target.clip,
            lambda total: [(total - 1) * part // (THUMBNAIL_FRAMES - 1) for part in range(THUMBNAIL_FRAMES)],
        )
    except Exception:  # `probe_clip` has said why
        return b""
    height, width = frames_THWC.shape[1:3]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    strip = Image.new("RGB", (size[0] * THUMBNAIL_FRAMES, size[1]))
    for place, frame_HWC in enumerate(frames_THWC):
        strip.paste(Image.fromarray(np.ascontiguousarray(frame_HWC)).resize(size), (place * size[0], 0))
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=80, optimize=True)
    return file.getvalue()

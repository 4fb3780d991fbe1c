"""The videos of a folder, by the names of its files."""

import os
from dataclasses import dataclass
from pathlib import Path

from side4video.core.errors import InputError
from side4video.data.decode.container import open_container

SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905 - short
)
"""How the names of videos end that FFmpeg, and so every decoder here, reads; in either case."""


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file, and what tells one version of it from another."""

    name: str
    """Its path below the folder, with `/` on every system."""
    bytes: int
    modified_ns: int


def list_videos(folder: Path) -> tuple[list[VideoFile], list[str]]:
    """The videos of a folder and of all folders in it, by name, and the folders that cannot be looked into.

    Links are followed, each folder is looked into once, and hidden files and folders are left out.

    Raises:
        InputError: There is no such folder, or no video in it.
    """
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "no such folder"
        raise InputError(str(folder), wrong, allowed="a folder with videos", fix="check the path")
    unreadable: list[OSError] = []
    visited: set[tuple[int, int]] = set()
    found: list[VideoFile] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                found.append(_video_file(Path(place, name), folder))
    if not found:
        raise InputError(
            str(folder),
            "no video in it" + (f"; {len(unreadable)} folders cannot be looked into" if unreadable else ""),
            allowed=f"files that end in {', '.join(sorted(SUFFIXES))}",
            fix="check the path",
        )
    return sorted(found, key=lambda file: file.name), [str(error.filename) for error in unreadable]


def _video_file(path: Path, folder: Path) -> VideoFile:
    """The file as it is; zeros for what cannot be opened now, so that it is another version when it can."""
    name = path.relative_to(folder).as_posix()
    try:
        status = path.stat()
    except OSError:
        return VideoFile(name, 0, 0)
    return VideoFile(name, status.st_size, status.st_mtime_ns) if os.access(path, os.R_OK) else VideoFile(name, 0, 0)


def duration_seconds(video: Path | str | bytes) -> float | None:
    """How long a video (a path, or a file in memory) is, as its header says; None where it does not."""
    import av
    from av.error import FFmpegError

    try:
        with open_container(str(video) if isinstance(video, Path) else video) as container:
            return container.duration / av.time_base if container.duration else None
    except (FFmpegError, ValueError):
        return None

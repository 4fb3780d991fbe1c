"""Where the videos of a list may be: beside it, below it, or in a folder beside its own."""

from pathlib import Path

MAX_FOLDERS = 100
"""Folders that are looked into."""
PROBES = 200
"""Listed videos that are looked for in each."""
_OF_LISTS = {"annotation", "annotations", "captions", "csv", "json", "labels", "lists", "meta", "metadata", "splits"}
_OF_VIDEOS = {"all", "clips", "media", "mp4", "video", "videos"}
"""Names of folders. Videos of a set that is beside are not taken for those of this one, although names repeat."""


def places(folder: Path) -> list[Path]:
    """Folders that may hold the videos of a list in `folder`, the likely ones first."""
    beside = [
        each
        for each in _folders_in(folder.parent)
        if folder.name.lower() in _OF_LISTS or each.name.lower() in _OF_VIDEOS
    ]
    above = [folder.parent] if folder.name.lower() in _OF_LISTS else []
    return list(dict.fromkeys([folder, *_folders_in(folder), *above, *beside]))


def probes(count: int) -> range:
    """Positions of some of `count` videos, evenly spread."""
    return range(0, count, max(1, count // PROBES))


def _folders_in(folder: Path) -> list[Path]:
    try:
        found = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []
    return found[:MAX_FOLDERS]

"""The videos that a user names: files, folders with all that is in them, and patterns with `*`."""

import glob
from collections.abc import Sequence
from pathlib import Path

from side4video.core.errors import InputError
from side4video.inference.video_folder import list_videos

_IN_PATTERNS = frozenset("*?[")


def expand_videos(given: Sequence[str]) -> list[str]:
    """The paths of all named videos, each once, in the order in which they were named; those of a folder by name.

    A path that exists is no pattern, whatever characters it has. A file need not exist: reading it says so.

    Raises:
        InputError: A folder holds no video, or nothing fits a pattern.
    """
    found: dict[str, None] = {}
    for text in given:
        path = Path(text)
        if path.is_dir():
            videos, _ = list_videos(path)
            found |= dict.fromkeys(str(path / video.name) for video in videos)
        elif _IN_PATTERNS.isdisjoint(text) or path.exists():
            found[text] = None
        else:
            fitting = [each for each in sorted(glob.glob(text, recursive=True)) if Path(each).is_file()]  # noqa: PTH207
            if not fitting:
                raise InputError(text, "no file fits this pattern", fix="check the path; `**` goes into folders")
            found |= dict.fromkeys(fitting)
    return list(found)

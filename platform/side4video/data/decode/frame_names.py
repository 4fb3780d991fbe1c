"""The names of the frames of a video that is a folder of images; `frame_folder` reads them. Nothing here is decoded."""

import os
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from side4video.core.errors import InputError
from side4video.data.storage import is_remote, list_folder

FramePattern = Annotated[str, Field(pattern=r"^([^{}/\\]*\{:0[1-9]d\}[^{}/\\]*\.\w+)?$")]
"""The name of a frame's file, with its number, padded with zeros, in braces: `{:05d}.jpg`, `img_{:05d}.jpg`."""


def count_frames(folder: str, pattern: str) -> int:
    """Number of images in a folder whose names match the pattern; 0 if the folder does not exist."""
    try:
        return len(frame_numbers(file_names(folder), pattern))
    except (OSError, InputError):
        return 0


def file_names(folder: str) -> list[str]:
    """File names in a folder. Fast, because there may be hundreds of thousands of folders."""
    if is_remote(folder):
        return [entry.name for entry in list_folder(folder) if not entry.is_folder]
    return os.listdir(folder)  # noqa: PTH208


def frame_numbers(names: Sequence[str], pattern: str) -> set[int]:
    """Numbers of the files whose names match the pattern."""
    begin, digits, end = re.split(r"\{:0(\d)d\}", pattern)
    fits = re.compile(rf"{re.escape(begin)}([0-9]{{{digits},}}){re.escape(end)}")
    matches = [match for name in names if (match := fits.fullmatch(name))]
    # `0000123` would fit five digits; no frame is called so.
    return {int(match[1]) for match in matches if pattern.format(int(match[1])) == match[0]}

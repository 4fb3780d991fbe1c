"""Segments of videos in JSON files: `[start, end]` in seconds."""

import math
from typing import Any

from side4video.core.errors import InputError
from side4video.data.annotations.json_files import as_list


def as_segment(value: Any, origin: str) -> tuple[float, float] | None:
    """Start and end of a segment in seconds; None if it ends before it starts, as a few do in official files.

    Raises:
        InputError: It is not a pair of numbers from 0 on.
    """
    pair = as_list(value, origin)
    if len(pair) != 2 or not all(_is_time(each) for each in pair):
        raise InputError(
            origin, f"the segment is {value!r:.60}", allowed="start and end in seconds, such as [60.0, 69.5]"
        )
    start, end = map(float, pair)
    return (start, end) if start < end else None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0

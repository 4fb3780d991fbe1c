"""One measured value on its way to a tracking store."""

import time
from typing import NamedTuple


class Point(NamedTuple):
    """A value of a named quantity (`area/name_unit`) at an optimizer step."""

    key: str
    value: float
    step: int
    timestamp_ms: int


def point(key: str, value: float, step: int) -> Point:
    """A point measured now."""
    return Point(key, float(value), step, time.time_ns() // 1_000_000)

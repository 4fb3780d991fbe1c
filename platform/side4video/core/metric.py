"""One measured value on its way to a tracking store."""

import json
import math
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A value of a named quantity (`area/name_unit`) at an optimizer step."""

    key: str
    value: float
    step: int
    timestamp_ms: int


def point(key: str, value: float, step: int) -> Point:
    """A point measured now."""
    return Point(key, float(value), step, time.time_ns() // 1_000_000)


LARGEST = sys.float_info.max
"""What stands for infinity, about 1.8e308."""

KEY_LIMIT = 250
"""Characters in a metric's or parameter's name, MLflow's limit."""

_KEY = re.compile(r"[A-Za-z0-9_.\- :]+(?:/[A-Za-z0-9_.\- :]+)*")


def check_key(key: str) -> str:
    """The key itself if MLflow can store it: `area/name_unit` of letters, digits and `_ - . / space :`.

    Raises:
        ValueError: if a character is not allowed, a part is empty, `.` or `..`, or the key is too long.
    """
    if not _KEY.fullmatch(key) or key.startswith("..") or {".", ".."} & set(key.split("/")):
        raise ValueError(f"metric name {key!r}: use parts of letters, digits and `_ - . :` or space, divided by `/`")
    if len(key) > KEY_LIMIT:
        raise ValueError(f"metric name {key[:40]!r}…: {len(key)} characters, at most {KEY_LIMIT}")
    return key


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of one run at one step."""

    key: str
    """`area/name_unit`, such as `time/step_s`."""

    value: float
    """A finite number or NaN; infinities are replaced, see the module."""

    step: int
    """The optimizer step, or the epoch, that the number belongs to."""

    timestamp_ms: int
    """When it was measured, milliseconds since 1970."""

    def __post_init__(self) -> None:
        check_key(self.key)
        value = float(self.value)
        object.__setattr__(self, "value", math.copysign(LARGEST, value) if math.isinf(value) else value)
        object.__setattr__(self, "step", int(self.step))


class MetricBuffer:
    """Metrics in the order they came, until somebody takes them away."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []

    def __len__(self) -> int:
        return len(self._metrics)

    def append(self, key: str, value: float, *, step: int) -> None:
        """Keep one number, stamped with the time of the call."""
        self._metrics.append(Metric(key, value, step, time.time_ns() // 1_000_000))

    def drain(self) -> list[Metric]:
        """Everything kept so far, oldest first; the buffer is empty afterwards."""
        metrics, self._metrics = self._metrics, []
        return metrics


def to_json(metrics: Iterable[Metric]) -> str:
    """The metrics as one line of strict JSON; NaN, which JSON lacks, is written as null."""
    rows = [[m.key, None if math.isnan(m.value) else m.value, m.step, m.timestamp_ms] for m in metrics]
    return json.dumps(rows, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> list[Metric]:
    """What `to_json` wrote.

    Raises:
        ValueError: if the text is not such a list.
    """
    rows: Any = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("metrics in JSON: expected a list of [key, value, step, timestamp_ms]")
    try:
        return [Metric(key, math.nan if value is None else value, step, time_ms) for key, value, step, time_ms in rows]
    except TypeError as error:
        raise ValueError(f"metrics in JSON: expected rows of [key, value, step, timestamp_ms]: {error}") from error

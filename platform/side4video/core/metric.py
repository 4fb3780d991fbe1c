"""Metrics: their values, from the training loop to a store, and their descriptions. Imports no MLflow and no torch.

NaN stays NaN. Infinities become the largest finite double, plus or minus `MAX_VALUE`, as in MLflow, so that an
overflow differs from NaN.
"""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from side4video.core.plugin_fault import PluginFault, is_fault, mend, near_path, raised

MAX_VALUE = sys.float_info.max
"""Replaces infinity: about 1.8e308."""

KEY_LIMIT = 250
"""MLflow's limit for the characters of a metric's or parameter's name."""

_KEY = re.compile(r"[A-Za-z0-9_.\- :]+(?:/[A-Za-z0-9_.\- :]+)*")


def check_key(key: str) -> str:
    """Return the key if MLflow can store it: `area/name_unit` of letters, digits and `_ - . / space :`.

    Raises:
        ValueError: if a character is not allowed, a part is empty, `.` or `..`, or the key is too long.
    """
    if not _KEY.fullmatch(key) or key.startswith("..") or {".", ".."} & set(key.split("/")):
        raise ValueError(f"metric name {key!r}: use parts of letters, digits and `_ - . :` or space, divided by `/`")
    if len(key) > KEY_LIMIT:
        raise ValueError(f"metric name {key[:40]!r}…: {len(key)} characters, at most {KEY_LIMIT}")
    return key


class _MetricFields(NamedTuple):
    key: str
    value: float
    step: int
    timestamp_ms: int


class Metric(_MetricFields):
    """One value of one metric of a run, at one step.

    `key` is `area/name_unit`, such as `time/step_s`; `value` a finite number or NaN (see the module); `step` the
    optimizer step or the epoch; `timestamp_ms` the time of measurement, in milliseconds since 1970.
    """

    __slots__ = ()

    def __new__(cls, key: str, value: float, step: int, timestamp_ms: int) -> "Metric":
        """Check the key and replace infinities.

        Raises:
            ValueError: If the key is not one that MLflow can store.
        """
        value = float(value)
        finite = math.copysign(MAX_VALUE, value) if math.isinf(value) else value
        return super().__new__(cls, check_key(key), finite, int(step), timestamp_ms)

    @classmethod
    def now(cls, key: str, value: float, step: int) -> "Metric":
        """A value measured now."""
        return cls(key, value, step, time.time_ns() // 1_000_000)


def to_json(metrics: Iterable[Metric]) -> str:
    """The metrics as one line of strict JSON; NaN, which JSON lacks, is written as null."""
    rows = [[m.key, None if math.isnan(m.value) else m.value, m.step, m.timestamp_ms] for m in metrics]
    return json.dumps(rows, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> list[Metric]:
    """Parse the text of `to_json`.

    Raises:
        ValueError: If the text is not such a list.
    """
    rows: Any = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("metrics in JSON: expected a list of [key, value, step, timestamp_ms]")
    try:
        return [Metric(key, math.nan if value is None else value, step, time_ms) for key, value, step, time_ms in rows]
    except TypeError as error:
        raise ValueError(f"metrics in JSON: expected rows of [key, value, step, timestamp_ms]: {error}") from error


@dataclass(frozen=True)
class MetricSpec:
    """A metric of an evaluation, logged as `eval/NAME` and, for the best epoch, as `best/NAME`."""

    name: str
    title: str
    """Name in captions and tables, such as `top-1` or `text to video R@1`."""
    compute: Callable[[Any], float]
    """Computes the metric from the results of the task's evaluation (see the task's module)."""
    heading: str = ""
    """A shorter title for columns; empty: `title`."""
    better: Literal["max", "min"] = "max"
    unit: Literal["%", ""] = "%"
    """`%`: a fraction, printed as percent. Empty: a plain number."""
    in_summary: bool = True
    """Whether short tables and run descriptions show it."""
    hub: tuple[str, str] | None = None
    """Type and name in a Hugging Face model card, if cards show it."""

    def value(self, found: Any) -> float:
        """The metric of an evaluation, for metrics that are not this package's.

        Raises:
            PluginFault: Its function fails, or returns no number.
        """
        try:
            return float(self.compute(found))
        except BaseException as error:  # `SystemExit` would end a run as if it had ended well
            if not is_fault(error):
                raise
            file = getattr(getattr(self.compute, "__code__", None), "co_filename", "")
            raise PluginFault(
                f"the metric {self.name}" + (f" of {near_path(file)}" if file else ""),
                raised(error, file),
                allowed="a function that returns a number",
                fix=mend(file) if file else "mend the plug-in; side4video check-plugin tries it",
            ) from error

    @property
    def is_fraction(self) -> bool:
        """Whether the value is a fraction."""
        return self.unit == "%"

    def is_better(self, value: float, than: float) -> bool:
        """Whether one value is better than another; NaN never is."""
        return value > than if self.better == "max" else value < than

    def text(self, value: float) -> str:
        """The value as it is printed: `66.7%`, `1.25`."""
        return f"{100 * value:.1f}%" if self.is_fraction else f"{value:.4g}"

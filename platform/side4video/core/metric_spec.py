"""Describes a metric: its name, which values are better, and how it is printed. Each task lists its metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


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

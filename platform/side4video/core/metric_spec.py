"""What a metric is: its name, which way is better, and how it is printed. A task lists its metrics once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class MetricSpec:
    """A metric of an evaluation, recorded as `eval/NAME` and, at the best epoch, as `best/NAME`."""

    name: str
    title: str
    """In captions and tables: `top-1`, `text to video R@1`."""
    compute: Callable[[Any], float]
    """From what the task's evaluation found; its module says what that is."""
    heading: str = ""
    """A shorter title for a column beside others; empty: the title."""
    better: Literal["max", "min"] = "max"
    unit: Literal["%", ""] = "%"
    """`%`: a fraction, printed as percent. Empty: a number, printed as it is."""
    in_summary: bool = True
    """Whether short tables and descriptions of runs show it."""
    hub: tuple[str, str] | None = None
    """Type and name in a model card of the Hugging Face hub, if cards show it."""

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

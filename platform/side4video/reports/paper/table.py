"""A table of the paper: its rows and figures, and which experiment of ours reproduces which row."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PaperColumn:
    """A column of figures."""

    key: str
    """Names the figure in the rows."""
    heading: str
    unit: str
    """As the paper prints it: `%`, `G`, `M`, `GFLOPs`."""
    metrics: tuple[str, ...]
    """Of our runs: the first one that a run has is shown."""
    factor: float = 1.0
    """From our metric to the paper's unit."""
    decimals: int = 1
    dataset: str = ""
    """Which of a row's experiments it is of, where a table has several data sets."""


@dataclass(frozen=True)
class PaperRow:
    """A method in the table."""

    method: str
    figures: Mapping[str, float]
    """By column; what the paper prints as `-` is absent."""
    group: str = ""
    """The heading that it stands under."""
    details: tuple[str, ...] = ()
    """Text columns beside the method."""
    experiments: Mapping[str, str] = field(default_factory=dict)
    """Names of our experiments by data set; none where this project has no file for the row."""


@dataclass(frozen=True)
class PaperTable:
    """A whole table."""

    name: str
    title: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    details: tuple[str, ...] = ()
    """Headings of the rows' text columns."""
    conventions: tuple[str, ...] = ()
    """How its figures are counted."""


PERCENT = 100.0
MULTIPLY_ADDS = "The paper's FLOPs are multiply-adds of one view times the number of views; ours are counted so too."
MEMORY = (
    "The paper's memory was measured on an A100 of 80 GB; ours is the peak of one worker in GiB, measured where a GPU "
    "was there, and planned (marked ᵖ) where not."
)

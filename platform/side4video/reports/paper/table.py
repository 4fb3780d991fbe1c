"""A table of a paper: its rows and values, and the experiments that reproduce them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PaperColumn:
    """A column of numbers."""

    key: str
    """Key of the value in `PaperRow.figures`."""
    heading: str
    unit: str
    """The paper's unit: `%`, `G`, `M` or `GFLOPs`."""
    metrics: tuple[str, ...]
    """Our metrics for it: the first one that all runs have is shown."""
    factor: float = 1.0
    """Multiplies our metric to get the paper's unit."""
    decimals: int = 1
    dataset: str = ""
    """The data set, if the table has several; selects the row's experiment."""


@dataclass(frozen=True)
class PaperRow:
    """A row: a method with its settings."""

    method: str
    figures: Mapping[str, float]
    """The paper's values by column key, without those printed as `-`."""
    group: str = ""
    """The heading above the row."""
    details: tuple[str, ...] = ()
    """Cells of the text columns."""
    experiments: Mapping[str, str] = field(default_factory=dict)
    """Names of our experiments by data set; empty if this project has none for the row."""


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper."""

    name: str
    title: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    details: tuple[str, ...] = ()
    """Headings of the text columns."""
    conventions: tuple[str, ...] = ()
    """Notes on how its values are measured."""
    short_title: str = ""
    """For lists of tables; empty: the title."""


PERCENT = 100.0
MULTIPLY_ADDS = "The paper's FLOPs are multiply-adds of one view times the number of views; ours are counted so too."
MEMORY = (
    "The paper's memory was measured on an A100 of 80 GB; ours is the peak of one worker in GiB, measured where a GPU "
    "was there, and planned (marked ᵖ) where not."
)

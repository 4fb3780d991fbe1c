"""Tables for a terminal that keep all of their columns at any width.

A table that is too wide folds its long texts; if it is still too wide, it is printed as several blocks, which repeat
the columns that name a row. Numbers are never cut.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from side4video.core.text import printable

GAP = 2
"""Cells between two columns."""
MIN_TEXT = 12
"""A text that is folded keeps as many cells, if it has them."""
MAX_WORD = 32
"""A longer word, such as a path, may be broken."""


@dataclass(frozen=True)
class TextColumn:
    """A column of a table."""

    heading: str
    """May have several lines."""
    cells: tuple[str, ...]
    is_number: bool = False
    """Whether it is aligned to the right, and never folded."""
    is_key: bool = False
    """Whether it names the row, so that each block repeats it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heading", printable(self.heading, keep="\n"))
        object.__setattr__(self, "cells", tuple(map(printable, self.cells)))

    @property
    def width(self) -> int:
        """Width in terminal cells without folding."""
        lines = [line for text in (self.heading, *self.cells) for line in text.splitlines()]
        return max(map(cell_len, lines), default=0)

    @property
    def narrow(self) -> int:
        """The smallest width: that of the longest word of a text, within reason; a number's own."""
        if self.is_number:
            return self.width
        words = [word for text in (self.heading, *self.cells) for word in text.split()]
        return min(self.width, max(MIN_TEXT, min(MAX_WORD, max(map(cell_len, words), default=0))))


@dataclass(frozen=True)
class FittedTable:
    """A table that fits the width at which it is printed."""

    columns: tuple[TextColumn, ...]
    title: str = ""
    caption: str = ""
    styles: Mapping[int, str] | None = None
    """Styles of rows, by index."""
    max_width: int = 160
    """No wider than this on a wide terminal."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Rich's protocol: the blocks."""
        if self.title:
            yield Text(self.title, style="italic")
        for number, block in enumerate(blocks(self.columns, min(self.max_width, options.max_width))):
            if number:
                yield Text()
            yield self._table(block)
        if self.caption:
            yield Constrain(Text(self.caption, style="dim"), min(self.max_width, options.max_width))

    def _table(self, block: Sequence[tuple[TextColumn, int]]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
        for column, width in block:
            table.add_column(
                Text(column.heading), justify="right" if column.is_number else "left", width=width, overflow="fold"
            )
        for row in range(len(self.columns[0].cells)):
            style = (self.styles or {}).get(row, "")
            table.add_row(*(Text(column.cells[row], style=style) for column, _ in block))
        return table


def fitted(columns: Mapping[str, Sequence[str]], *, texts: Collection[str] = (), keys: int = 1) -> FittedTable:
    """A table of these columns, by heading; all are numbers but `texts`, and the first `keys` name the row."""
    return FittedTable(
        tuple(
            TextColumn(name, tuple(cells), is_number=name not in texts, is_key=place < keys)
            for place, (name, cells) in enumerate(columns.items())
        )
    )


def blocks(columns: Sequence[TextColumn], width: int) -> list[list[tuple[TextColumn, int]]]:
    """The columns of each block with their widths, which add up to at most `width` with the gaps."""
    whole = _widened(columns, width)
    if whole is not None:
        return [whole]
    keys = [column for column in columns if column.is_key]
    others = [column for column in columns if not column.is_key]
    made: list[list[TextColumn]] = []
    for column in others:
        if made and _widened([*keys, *made[-1], column], width) is not None:
            made[-1].append(column)
        else:
            made.append([column])
    return [_widened([*keys, *each], width) or _squeezed([*keys, *each], width) for each in made or [[]]]


def _widened(columns: Sequence[TextColumn], width: int) -> list[tuple[TextColumn, int]] | None:
    """The columns with their widths, folded as little as possible; None if they do not fit."""
    room = width - GAP * len(columns) - sum(column.narrow for column in columns)
    if room < 0:
        return None
    widths = []
    for column in columns:
        more = min(room, column.width - column.narrow)
        room -= more
        widths.append(column.narrow + more)
    return list(zip(columns, widths, strict=True))


def _squeezed(columns: Sequence[TextColumn], width: int) -> list[tuple[TextColumn, int]]:
    """Texts share what the numbers leave, on a terminal that is too narrow for whole words."""
    texts = [column for column in columns if not column.is_number]
    room = width - GAP * len(columns) - sum(column.width for column in columns if column.is_number)
    share = max(1, room // max(1, len(texts)))
    return [(column, column.width if column.is_number else min(column.width, share)) for column in columns]

"""Queries of a retrieval run that are to be shown: read from its predictions, and chosen by a rule, not by hand.

Legend: T frames, H, W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from side4video.core.csv_cells import csv_rows
from side4video.core.errors import InputError


@dataclass(frozen=True)
class Query:
    """A caption of the evaluation, and how it fared: a row of `predictions.csv`."""

    number: int
    """Its place among the captions."""
    clip: int
    """The position of its own video in the list of clips."""
    rank: int
    """Of its own video, from 1; ties count against the model."""
    caption: str


@dataclass(frozen=True)
class FoundVideo:
    """A video that a query found, or its own one."""

    rank: int
    """From 1."""
    score: float
    """Its similarity with the query."""
    clip: int
    """Its position in the list of clips."""
    name: str
    """For the reader: its path below the common folder of all, and its span."""
    is_own: bool
    """Whether the query is a caption of it."""
    frames_THWC: NDArray[np.uint8] | None
    """What the run sees of it; None where it cannot be read any more."""
    similarities_T: Sequence[float] = ()
    """Of the query and each frame alone."""


@dataclass(frozen=True)
class Example:
    """A query and what it found: the first videos, and its own one behind them where it is not among them."""

    query: Query
    found: Sequence[FoundVideo] = field(default=())

    @property
    def own_rank(self) -> int:
        """The rank of the query's own video, as it was found now."""
        return next(video.rank for video in self.found if video.is_own)


def read_queries(text: str, *, where: str) -> list[Query]:
    """The queries of a retrieval run, from the text of its `predictions.csv`.

    Raises:
        InputError: It holds none, or is no such file.
    """
    rows: list[dict[str, Any]] = list(csv_rows(text))
    try:
        queries = [Query(int(row["index"]), int(row["label"]), int(row["rank"]), row["caption"]) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(where, f"no predictions of a retrieval run: {error}", fix="run it again") from error
    if not queries:
        raise InputError(where, "no caption was evaluated", fix="choose another run")
    return queries


def choose_queries(queries: Sequence[Query], *, count: int, seed: int) -> list[Query]:
    """Queries evenly over the quantiles of the rank, the best first.

    All queries are ordered by the rank of their own video, those of one rank as a seed says, and divided into `count`
    equal parts: the middle of each part is taken. So the choice has as many good and bad cases as the run.
    """
    luck = np.random.default_rng(seed).permutation(len(queries))
    ordered = sorted(range(len(queries)), key=lambda place: (queries[place].rank, luck[place]))
    count = min(count, len(queries))
    return [queries[ordered[(2 * part + 1) * len(queries) // (2 * count)]] for part in range(count)]


def selection_rule(queries: int, *, count: int, seed: int) -> str:
    """How queries were chosen, for the reader."""
    if count >= queries:
        return f"All {queries} captions of the evaluation, in the order of the rank of their own video."
    return (
        f"Chosen by rule: all {queries} captions of the evaluation in the order of the rank of their own video (equal "
        f"ranks in an order drawn by seed {seed}), divided into {count} equal parts; shown is the middle of each."
    )

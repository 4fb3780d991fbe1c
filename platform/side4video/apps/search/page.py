"""The page of a search: for each match a strip of the frames that the run saw, the most similar one marked.

Legend: T frames, C channels, H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from side4video.reports.render import render


@dataclass(frozen=True)
class PageMatch:
    """A video on the page."""

    rank: int
    score: float
    path: str
    seconds: float | None
    frames_THWC: np.ndarray | None
    """uint8; None if the video cannot be read any more."""
    similarities_T: Sequence[float] = ()
    """Similarity of the text to each frame alone."""


def search_page(matches: Sequence[PageMatch], *, text: str, notes: Sequence[str] = ()) -> str:
    """The page as HTML.

    Args:
        matches: The videos, best first.
        text: The query.
        notes: Sentences above the videos.
    """
    return render("search.html.j2", title=text, matches=matches, notes=notes)

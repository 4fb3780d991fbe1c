"""A page of what was found: for each video a strip of the frames that the run saw, the most similar one marked.

The page is one file: frames are inside, there is no script and no address of another machine.

Legend: T frames, C channels, H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from side4video.core.text import format_length, printable
from side4video.reports.html import film_strip, page


@dataclass(frozen=True)
class Strip:
    """A video on the page."""

    rank: int
    score: float
    path: str
    seconds: float | None
    frames_THWC: np.ndarray | None
    """uint8; None where they cannot be read any more."""
    similarities_T: Sequence[float] = ()
    """Of the text and each frame alone."""


def sheet_page(strips: Sequence[Strip], *, text: str, notes: Sequence[str] = ()) -> str:
    """The page.

    Args:
        strips: The videos, best first.
        text: What was searched.
        notes: Sentences for the reader, above the videos.
    """
    told = "".join(f"<p>{escape(printable(note))}</p>\n" for note in notes)
    return page(text, told + "".join(map(_section, strips)))


def _section(strip: Strip) -> str:
    length = f" · {format_length(strip.seconds)}" if strip.seconds is not None else ""
    head = f"<h2>{strip.rank}. {escape(printable(strip.path))}</h2>\n<p>similarity {strip.score:.4f}{length}</p>\n"
    if strip.frames_THWC is None:
        return f"<section>\n{head}<p>It cannot be read any more.</p>\n</section>\n"
    return f"<section>\n{head}{film_strip(strip.frames_THWC, strip.similarities_T)}</section>\n"

"""The page of examples: queries of an evaluation, and the videos that each of them found."""

from collections.abc import Sequence

from side4video.apps.examples.queries import Example
from side4video.reports.render import render


def examples_page(examples: Sequence[Example], *, title: str, notes: Sequence[str], videos: int) -> str:
    """The page as HTML.

    Args:
        examples: In the order in which they are shown.
        title: The heading.
        notes: Sentences above the examples: how the queries were chosen.
        videos: Number of videos that were ranked.
    """
    return render("examples.html.j2", title=title, examples=examples, notes=notes, videos=videos)

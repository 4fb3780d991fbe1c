"""The page of examples: queries of an evaluation, and for each what it found, its own video marked.

One file: frames are inside, there is no script and no address of another machine.
"""

from collections.abc import Sequence
from html import escape

from side4video.apps.examples.queries import Example, FoundVideo
from side4video.core.text import printable
from side4video.reports.html import film_strip, page

_STYLE = """
h2 { font-size: 1.2rem; }
h3 { font-size: 1rem; margin: 0.9rem 0 0; overflow-wrap: anywhere; }
.own { border-left: 4px solid var(--mark); padding-left: 0.8rem; margin-left: -1rem; }
.own h3 { color: var(--mark); }
"""


def examples_page(examples: Sequence[Example], *, title: str, notes: Sequence[str], videos: int) -> str:
    """The page.

    Args:
        examples: In the order in which they are shown.
        title: Above all.
        notes: Sentences for the reader: how the queries were chosen.
        videos: How many there were to be found.
    """
    told = "".join(f"<p>{escape(printable(note))}</p>\n" for note in notes)
    return page(title, told + "".join(_section(each, videos) for each in examples), style=_STYLE)


def _section(example: Example, videos: int) -> str:
    text = escape(printable(example.query.caption)) or "<em>an empty caption</em>"
    return (
        f"<section>\n<h2>{text}</h2>\n<p>its own video: rank {example.own_rank} of {videos}</p>\n"
        + "".join(map(_video, example.found))
        + "</section>\n"
    )


def _video(video: FoundVideo) -> str:
    mark = " – its own video" if video.is_own else ""
    head = f"<h3>{video.rank}. {escape(printable(video.name))}{mark}</h3>\n<p>similarity {video.score:.4f}</p>\n"
    frames = (
        "<p>It cannot be read any more.</p>\n"
        if video.frames_THWC is None
        else film_strip(video.frames_THWC, video.similarities_T)
    )
    return f"<div class='{'own' if video.is_own else 'other'}'>\n{head}{frames}</div>\n"

"""Queries of a retrieval run and what they found, as a picture: a row a query, a strip of frames a video.

The query's own video has a thick frame and a word above it; where it is not among the first, it stands apart, at the
end of the row, with its rank.

Legend: T frames, H, W pixels, C channels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from side4video.apps.examples.queries import Example, FoundVideo
from side4video.reports.figures.style import INK, SOFT, TEXT, new_figure, wrap_text

OWN_COLOUR = "#0072B2"
"""Blue of Okabe and Ito's colours, which the colour-blind tell from grey; a word stands beside it."""
NOTE_COLOUR = "#5c5c5c"
WIDTH = 8.0
_EDGE, _GAP, _ABOVE, _HEAD, _FOOT = 0.12, 0.1, 0.52, 0.17, 0.26


def examples_figure(
    examples: Sequence[Example], *, title: str, caption: str, videos: int, frames: int = 3, width: float = WIDTH
) -> Figure:
    """Draw them.

    `caption` says how queries were chosen, `videos` how many there were to be found. Of each video `frames` are shown,
    evenly spaced. `width` is in inches.
    """
    cells = max(len(each.found) for each in examples)
    cell = (width - 2 * _EDGE - (cells - 1) * _GAP - (0.15 if cells > 1 else 0)) / cells
    heights = [_strip_height(each, frames, cell) for each in examples]
    headings = [f"“{' '.join(each.query.caption.split())}” · rank {each.own_rank} of {videos}" for each in examples]
    heads = [wrap_text(heading, inches=width - 2 * _EDGE, points=TEXT) for heading in headings]
    notes = wrap_text(caption, inches=width - 2 * _EDGE, points=TEXT - 2)
    rows = [0.17 * len(head) + _HEAD + height + _FOOT for head, height in zip(heads, heights, strict=True)]
    size = (width, _ABOVE + sum(rows) + 0.145 * len(notes) + 0.12)
    figure = new_figure(*size)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / size[0], 1 - y / size[1], text, **{"color": INK, "fontsize": TEXT, "va": "center", **style})

    write(_EDGE, 0.2, title, fontsize=TEXT + 1)
    top = _ABOVE
    for example, head, height, row in zip(examples, heads, heights, rows, strict=True):
        for number, line in enumerate(head):
            write(_EDGE, top + 0.17 * number, line)
        below = top + 0.17 * len(head) + _HEAD
        for place, video in enumerate(example.found):
            apart = 0.15 if place and video.rank > place + 1 else 0.0
            left = _EDGE + place * (cell + _GAP) + apart
            label = f"{video.rank}.  {video.score:.3f}" + "  own video" * video.is_own
            write(left, below - 0.13, label, fontsize=TEXT - 2, color=OWN_COLOUR if video.is_own else NOTE_COLOUR)
            _strip(figure, video, box=(left, below, cell, height), frames=frames)
        top += row
    for number, line in enumerate(notes):
        write(_EDGE, size[1] - 0.12 - 0.145 * (len(notes) - 1 - number), line, color=NOTE_COLOUR, fontsize=TEXT - 2)
    return figure


def _strip_height(example: Example, frames: int, cell: float) -> float:
    """Inches: the tallest of the row's strips."""
    shapes = [video.frames_THWC.shape for video in example.found if video.frames_THWC is not None]
    return max((cell / min(frames, shape[0]) * shape[1] / shape[2] for shape in shapes), default=0.3)


def _strip(figure: Figure, video: FoundVideo, *, box: tuple[float, float, float, float], frames: int) -> None:
    """Frames side by side in a box of inches from the left and the top."""
    left, top, wide, high = box
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + high) / down, wide / across, high / down))
    axes.set_axis_off()
    if video.frames_THWC is None:
        axes.text(0.5, 0.5, "cannot be read any more", ha="center", va="center", fontsize=TEXT - 2, color=SOFT)
        return
    total = len(video.frames_THWC)
    count = min(frames, total)
    # The middles of as many equal parts.
    chosen = [(2 * part + 1) * total // (2 * count) for part in range(count)]
    height, width = video.frames_THWC.shape[1:3]
    between = np.full((height, max(1, width // 40), 3), 255, np.uint8)
    parts = [part for number in chosen for part in (between, video.frames_THWC[number])][1:]
    axes.imshow(np.concatenate(parts, axis=1), aspect="auto")
    if video.is_own:
        edge = Rectangle(
            (0, 0), 1, 1, transform=axes.transAxes, fill=False, color=OWN_COLOUR, linewidth=3, clip_on=False
        )
        axes.add_patch(edge)

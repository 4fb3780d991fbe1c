"""What the figures share: size, ink, an empty sheet, and how they are written.

Matplotlib's objects without pyplot, so nothing global changes and no display is needed.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from side4video.core.files import write_atomically
from side4video.core.text import printable

DPI = 150
WIDTH = 8.0
"""Inches: 1200 pixels."""
TEXT = 9.0
"""Points; tick labels have one less."""
INK = "#222222"
SOFT = "#8a8a8a"
FAINT = "#6a6a6a"
MUTED = "#b5b5b5"
GRID = "#e8e8e8"
PAPER = "#ffffff"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", INK)
"""Okabe & Ito's palette, told apart by colour-blind people, without the yellow, which white paper swallows."""


class PlainFigure(Figure):
    """A figure in which text is only text: names of classes and arms may hold `$`, which would begin a formula."""

    def draw(self, renderer: Any) -> None:
        """Matplotlib's; all that is measured or written comes through here."""
        with mpl.rc_context({"text.parse_math": False}):  # for the labels of ticks, which are made while it draws
            for text in self.findobj(Text):
                make_plain(text)
            super().draw(renderer)


def make_plain(text: Any) -> None:
    """Make a text of matplotlib show its letters, whatever they are; needed before it is measured alone."""
    text.set_parse_math(False)
    text.set_text(printable(text.get_text(), keep="\n"))


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = None) -> Figure:
    """A figure of this size in inches, with the canvas that measures its text."""
    figure = PlainFigure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def empty_figure(reason: str) -> Figure:
    """A figure that says why it is empty."""
    figure = new_figure(WIDTH, 2.0)
    figure.text(0.5, 0.5, reason, ha="center", va="center", color=INK)
    return figure


def style_axes(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> Axes:
    """Axes with a soft grid behind, and without the frame's upper and right side; returns them."""
    axes.grid(axis=grid, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(labelsize=8, labelcolor=INK, color=SOFT)
    return axes


def label_axes(axes: Axes, *, x: str = "", y: str = "") -> None:
    """What the axes measure, with units."""
    axes.set_xlabel(x, fontsize=TEXT, color=INK)
    axes.set_ylabel(y, fontsize=TEXT, color=INK)


def end_shares(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """End an axis of percent at 100, and at 0 if it would go below; call it after everything is drawn."""
    for is_wanted, get, set_limits in ((x, axes.get_xlim, axes.set_xlim), (y, axes.get_ylim, axes.set_ylim)):
        low, high = get()
        if is_wanted:
            set_limits(max(0.0, low), min(100.0, high))
    for line in axes.lines:
        line.set_clip_on(False)  # a marker at 100 stays whole


def annotate_bar(axes: Axes, text: str, length: float, index: float) -> None:
    """Text behind the end of a horizontal bar; before it, if the bar goes to the left."""
    side: Literal["left", "right"] = "left" if length >= 0 else "right"
    offset = (4 if length >= 0 else -4, 0)
    style: dict[str, Any] = {"va": "center", "ha": side, "fontsize": 7.5, "color": FAINT}
    axes.annotate(text, (length, index), offset, textcoords="offset points", **style)


def legend_below(
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], *, columns: int = 2, **spacing: float
) -> None:
    """A legend outside the axes, where it covers nothing; `spacing` is matplotlib's."""
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, labelcolor=INK, **spacing
    )


def shorten(text: str, length: int) -> str:
    """Text on one line of at most `length` characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def shorten_middle(text: str, length: int) -> str:
    """Text on one line of at most `length` characters, its end kept: there names of classes differ."""
    text = printable(" ".join(text.split()))
    if len(text) <= length:
        return text
    end = (length - 1) * 2 // 5
    return f"{text[: length - 1 - end].rstrip()}…{text[len(text) - end :].lstrip()}"


_NO_METADATA: dict[str, dict[str, None]] = {
    "png": dict.fromkeys(("Software",)),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
}
"""What matplotlib would write of itself and of the day."""
FORMATS = tuple(_NO_METADATA)


_BELOW = 7.0
"""Points of the text below a figure."""


def figure_bytes(figure: Figure, kind: str, *, salt: str = "side4video", below: str = "") -> bytes:
    """A figure as a file, the same bytes each time; `salt` makes the ids in an SVG.

    The text `below` is written under the figure, which becomes as much higher; nothing in it moves.

    Letters of an SVG are paths, fonts of a PDF TrueType, which publishers ask for; pictures in it have the figure's own
    resolution.
    """
    stream = io.BytesIO()
    options: dict[str, Any] = {"format": kind, "dpi": DPI, "facecolor": PAPER, "metadata": _NO_METADATA[kind]}
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": salt, "pdf.fonttype": 42}):
        if not below:
            figure.savefig(stream, **options)
            return stream.getvalue()
        width, height = figure.get_size_inches()
        lines = wrap_text(below, inches=width - 0.2, points=_BELOW)
        more = round(DPI * (0.12 + 0.135 * len(lines))) / DPI
        style: dict[str, Any] = {"va": "top", "fontsize": _BELOW, "color": FAINT}
        tops = [-(0.04 + 0.135 * place) / height for place in range(len(lines))]
        written = [figure.text(0.1 / width, top, line, **style) for top, line in zip(tops, lines, strict=True)]
        for each in written:
            each.set_in_layout(False)
        with _fixed_layout(figure):
            figure.savefig(stream, **options, bbox_inches=Bbox([[0, -more], [width, height]]))
        for each in written:
            each.remove()
    return stream.getvalue()


@contextmanager
def _fixed_layout(figure: Figure) -> Iterator[None]:
    """Keep everything in its place, also the legends, which would move to the edge of what is saved."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    yield
    for legend in figure.legends:
        legend.set_bbox_to_anchor(None)
    figure.set_layout_engine(engine)


def save_figure(figure: Figure, path: Path, *, below: str = "") -> Path:
    """Write a figure in the format that the name ends in (`FORMATS`), with the text `below` it; returns its path."""
    write_atomically(path, figure_bytes(figure, path.suffix.removeprefix("."), below=below))
    return path


def wrap_text(text: str, *, inches: float, points: float) -> list[str]:
    """Lines of whole words, none wider than `inches` in letters of `points`; a word that is wider stands alone."""
    font, renderer = FontProperties(size=points), RendererAgg(1, 1, DPI)

    def is_wide(line: str) -> bool:
        width, _, _ = renderer.get_text_width_height_descent(line, font, ismath=False)
        return width / DPI > inches

    lines: list[str] = []
    for word in text.split():
        if lines and not is_wide(f"{lines[-1]} {word}"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]

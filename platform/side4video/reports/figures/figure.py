"""A finished figure: its words, the files that hold it, and how it stands in a page.

Files are the same bytes each time. SVG and PDF need no font of the reader's; a page holds the SVG itself, whose ink and
paper are then the page's own, in the light and in the dark.
"""

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from side4video.core.files import write_together
from side4video.core.text import printable
from side4video.reports.figures.style import BLUE, FAINT, GRID, INK, MUTED, ORANGE, PAPER, SOFT, figure_bytes

FORMATS = ("svg", "pdf", "png")
_MAX_REM_PER_INCH, _MIN_REM_PER_INCH = 7.75, 4.75
"""Of a page's text size, for each inch: letters are neither larger than the page's nor too small to read on a phone,
where a wide figure is moved sideways."""
_PAGE_COLOURS = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    FAINT: "var(--soft)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    PAPER: "var(--paper)",
    BLUE.lower(): "var(--blue)",
    ORANGE.lower(): "var(--orange)",
}


@dataclass(frozen=True)
class ReportFigure:
    """A figure and what is to be said of it."""

    name: str
    """Of its files, and of its element in a page."""
    heading: str
    caption: str
    """What it shows, as plain text."""
    figure: Figure
    numbers: Any = field(default=None)
    """What was drawn, as JSON values."""
    uses_page_colors: bool = True
    """Whether ink and paper may become a dark page's; not where darkness means something."""
    source: str = ""
    """The runs that it shows, their data, the number of videos and the date; written below it."""

    @property
    def text(self) -> str:
        """Caption and source."""
        return " ".join(filter(None, (self.caption, self.source)))


def write_figure(folder: Path, report_figure: ReportFigure) -> list[Path]:
    """Write `NAME.svg`, `NAME.pdf` and `NAME.png` (150 dpi) into a folder, made if it is missing.

    What is there of the same name is replaced, all three or none.

    Raises:
        InputError: The disk is full or cannot be written.
    """
    contents = {
        f"{report_figure.name}.{form}": svg_of(report_figure)
        if form == "svg"
        else figure_bytes(report_figure.figure, form, below=report_figure.source)
        for form in FORMATS
    }
    return write_together(folder, contents)


def svg_of(report_figure: ReportFigure) -> str:
    """The figure as SVG that names nothing outside itself: letters are paths, and there is no document type."""
    text = figure_bytes(report_figure.figure, "svg", salt=report_figure.name, below=report_figure.source).decode()
    return re.sub(r"<!DOCTYPE.*?>\n|<!--.*?-->\n?|^ +|<metadata>.*?</metadata>\n", "", text, flags=re.DOTALL | re.M)


def figure_html(report_figure: ReportFigure) -> Markup:
    """The figure in a page: heading, SVG, caption. Its ids and styles are its own, whatever else the page holds."""
    svg = re.sub(r"^.*?(?=<svg)", "", svg_of(report_figure), flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{report_figure.name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{report_figure.name}-", svg)
    svg = svg.replace("*{stroke-linejoin", f"#{report_figure.name} *{{stroke-linejoin")
    inches = report_figure.figure.get_figwidth()
    sizes = f"max-width: {_MAX_REM_PER_INCH * inches:.4g}rem; min-width: {_MIN_REM_PER_INCH * inches:.4g}rem"
    words = escape(printable(f"{report_figure.heading}: {report_figure.text}"))
    opening = f'<svg id="{report_figure.name}" role="img" aria-label="{words}" style="{sizes}"'
    svg = re.sub(r'<svg(.*?) width="[^"]*" height="[^"]*"', lambda found: opening + found[1], svg, count=1)
    if report_figure.uses_page_colors:
        # The page is the paper: a box that scrolls shows its shadow through the figure.
        svg = svg.replace(f'style="fill: {PAPER}"', 'style="fill: none"')
        svg = re.sub("|".join(_PAGE_COLOURS), lambda found: _PAGE_COLOURS[found[0]], svg)
    drawing = Markup(svg)  # noqa: S704 - matplotlib's, which escapes text
    return Markup(
        "<h2>{}</h2>\n<figure class='{}'>\n<div class='wide' tabindex='0'>\n{}</div>\n"
        "<figcaption>{}</figcaption>\n</figure>\n"
    ).format(
        printable(report_figure.heading),
        "" if report_figure.uses_page_colors else "paper",
        drawing,
        printable(report_figure.caption),
    )

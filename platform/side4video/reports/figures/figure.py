"""A finished figure: its words, the files that hold it, and how it stands in a page.

Files are the same bytes each time. SVG and PDF need no font of the reader's; a page holds the SVG itself, whose ink and
paper are then the page's own, in the light and in the dark.
"""

import io
import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from side4video.reports.figures.style import BLUE, DPI, FAINT, GRID, INK, MUTED, ORANGE, PAPER, SOFT

FORMATS = ("svg", "pdf", "png")
_UNSAID: dict[str, dict[str, None]] = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": dict.fromkeys(("Software",)),
}
"""What matplotlib would write of itself and of the day."""
_WIDEST, _NARROWEST = 7.75, 4.75
"""Of a page's text size, for each inch: letters are neither larger than the page's nor too small to read on a phone,
where a wide figure is moved sideways."""
_OF_THE_PAGE = {
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
    follows_page: bool = True
    """Whether ink and paper may become a dark page's; not where darkness means something."""


def write_sheet(folder: Path, sheet: ReportFigure) -> list[Path]:
    """Write `NAME.svg`, `NAME.pdf` and `NAME.png` (150 dpi) into a folder, made if it is missing.

    What is there of the same name is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{sheet.name}.{form}" for form in FORMATS]
    for form, file in zip(FORMATS, files, strict=True):
        file.write_bytes(svg_of(sheet).encode() if form == "svg" else _rendered(sheet, form))
    return files


def svg_of(sheet: ReportFigure) -> str:
    """The figure as SVG that names nothing outside itself: letters are paths, and there is no document type."""
    text = _rendered(sheet, "svg").decode()
    return re.sub(r"<!DOCTYPE.*?>\n|<!--.*?-->\n?|^ +|<metadata>.*?</metadata>\n", "", text, flags=re.DOTALL | re.M)


def sheet_html(sheet: ReportFigure) -> Markup:
    """The figure in a page: heading, SVG, caption. Its ids and styles are its own, whatever else the page holds."""
    svg = re.sub(r"^.*?(?=<svg)", "", svg_of(sheet), flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{sheet.name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{sheet.name}-", svg)
    svg = svg.replace("*{stroke-linejoin", f"#{sheet.name} *{{stroke-linejoin")
    inches = sheet.figure.get_figwidth()
    sizes = f"max-width: {_WIDEST * inches:.4g}rem; min-width: {_NARROWEST * inches:.4g}rem"
    words = escape(f"{sheet.heading}: {sheet.caption}")
    opening = f'<svg id="{sheet.name}" role="img" aria-label="{words}" style="{sizes}"'
    svg = re.sub(r'<svg(.*?) width="[^"]*" height="[^"]*"', lambda found: opening + found[1], svg, count=1)
    if sheet.follows_page:
        svg = re.sub("|".join(_OF_THE_PAGE), lambda found: _OF_THE_PAGE[found[0]], svg)
    drawing = Markup(svg)  # noqa: S704 - matplotlib's, which escapes text
    return Markup(
        "<h2>{}</h2>\n<figure class='{}'>\n<div class='wide' tabindex='0'>\n{}</div>\n<figcaption>{}</figcaption>\n</figure>\n"
    ).format(sheet.heading, "" if sheet.follows_page else "paper", drawing, sheet.caption)


def _rendered(sheet: ReportFigure, form: str) -> bytes:
    """The figure's bytes: letters of an SVG as paths, fonts of a PDF as TrueType, which publishers ask for."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": sheet.name, "pdf.fonttype": 42}):
        sheet.figure.savefig(stream, format=form, dpi=DPI, facecolor=PAPER, metadata=_UNSAID[form])
    return stream.getvalue()

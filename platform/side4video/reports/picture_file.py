"""Figures as files: PNG for pages, PDF and SVG for papers, the same bytes each time."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from side4video.reports.drawing import DPI

_NO_DATE: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
FORMATS = tuple(_NO_DATE)


def write_picture(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that the name ends in (`FORMATS`); returns its path.

    Text of a PDF stays text; pictures in it have the figure's own resolution.
    """
    kind = path.suffix.removeprefix(".")
    with mpl.rc_context({"svg.hashsalt": "side4video", "pdf.fonttype": 42}):
        figure.savefig(path, dpi=DPI, format=kind, facecolor="white", metadata=_NO_DATE[kind])
    return path

"""What the figures share: size, ink, an empty sheet, and how they are written.

Matplotlib's objects without pyplot, so nothing global changes and no display is needed.
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
WIDTH = 8.0
"""Inches: 1200 pixels."""
TEXT = 9.0
"""Points; tick labels have one less."""
INK = "#222222"
SOFT = "#8a8a8a"


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, with the canvas that measures its text."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def nothing_to_draw(reason: str) -> Figure:
    """A figure that says why it is empty."""
    figure = new_figure(WIDTH, 2.0)
    figure.text(0.5, 0.5, reason, ha="center", va="center", color=INK)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG of 150 dpi; returns its path."""
    figure.savefig(path, dpi=DPI, format="png", facecolor="white", metadata={"Software": None})
    return path


def shortened(text: str, length: int) -> str:
    """Text on one line of at most `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"

"""Text in lines of a measured width: letters differ too much to be counted."""

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from side4video.reports.drawing import DPI


def wrapped(text: str, *, inches: float, points: float) -> list[str]:
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

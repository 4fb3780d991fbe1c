"""Text in lines of a measured width: letters differ too much to be counted."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_MARGIN = 0.97
"""What is drawn is rounded to pixels, letter by letter."""


def wrapped(text: str, *, inches: float, points: float) -> list[str]:
    """Lines of whole words, none wider than `inches` in letters of `points`; a word that is wider stands alone."""
    font = FontProperties(size=points)

    def is_wide(line: str) -> bool:
        width, _, _ = text_to_path.get_text_width_height_descent(line, font, ismath=False)
        return width / 72 > _MARGIN * inches

    lines: list[str] = []
    for word in text.split():
        if lines and not is_wide(f"{lines[-1]} {word}"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]

"""Text for display."""

from side4video.core.units import format_duration


def printable(text: str) -> str:
    """The text with invalid bytes replaced, so that it can be written as UTF-8: file names may contain any bytes."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def format_length(seconds: float | None) -> str:
    """`2.4 s`, `3 min 05 s`; a dash if unknown."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(seconds)

"""A console for tables and progress, for which text is only text; see `terminal.output`."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from side4video.core.text import printable


class PlainConsole(Console):
    """Rich's console, for which text is only text: no markup, no codes of emoji, no control characters."""

    def __init__(self, **options: Any) -> None:
        """The options are Rich's."""
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Rich's, of the text as it can be shown; tables measure what this returns."""
        return super().render_str(printable(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's, for all other kinds of text; colours and the cursor of a progress bar are no text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)

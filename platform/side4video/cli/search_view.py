"""How far a search is, on stderr: a bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from side4video.cli.progress import LINE_EVERY_SECONDS
from side4video.core.units import format_duration


class SearchView:
    """Shows what is being done; use it as a context manager."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr)
        columns = (TextColumn("{task.description}"), BarColumn(16), TextColumn("{task.fields[note]}"))
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task("search", total=None, note="")
        self._phase, self._last_line = "search", 0.0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> "SearchView":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def say(self, phase: str) -> None:
        """Show the name of what begins; its length is not known."""
        self._phase, self._last_line, self._first = phase, 0.0, None
        self._bar.reset(self._task, total=None, description=phase, note="")

    def tell(self, done: int, total: int) -> None:
        """Show how many videos are done, of how many, how fast it goes and how long still."""
        now = time.monotonic()
        note = f"{done}/{total}"
        # Counted from the first batch: decoding processes take seconds to start.
        begun, before = self._first = self._first or (now, done)
        if done > before and now > begun:
            rate = (done - before) / (now - begun)
            note += f" · {rate:.1f} videos/s · {format_duration((total - done) / rate)} left"
        self._bar.update(self._task, total=total, completed=done, note=note)
        if not self.console.is_terminal and (now - self._last_line > LINE_EVERY_SECONDS or done == total):
            self.console.print(f"{self._phase}: {note}", highlight=False, markup=False, soft_wrap=True)
            self._last_line = now

    def note(self, text: str) -> None:
        """Say something that a person should know."""
        self.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

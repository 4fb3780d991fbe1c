"""How far a search is, on stderr: a bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

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


LINE_EVERY_SECONDS = 10.0


class ProgressView:
    """Shows the messages of a run; use it as a context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._phase, self._last_line = "", 0.0

    def __enter__(self) -> "ProgressView":
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(16),
                TextColumn("{task.fields[count]}"),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=None, count="", note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, message: dict[str, Any]) -> None:
        """Show one message of a run."""
        phase = message["phase"]
        if phase == "evaluated":
            self._say(f"{self.title}: epoch {message['epoch'] + 1}: {_evaluated(message['metrics'])}")
            return
        note = _note(message)
        if self._bar is not None and self._task is not None:
            steps = message.get("steps")
            # `update` takes None for "as before"; a phase of unknown length must not keep the last one's.
            self._bar.tasks[0].total = steps
            self._bar.update(
                self._task,
                description=self.title if phase == "training" else f"{self.title}: {phase}",
                completed=message.get("step", 0),
                count=f"{message.get('step', 0)}/{steps}" if steps else "",
                note=note,
            )
            return
        now = time.monotonic()
        if phase != self._phase or now - self._last_line > LINE_EVERY_SECONDS:
            done = f" {message['step']}/{message['steps']}" if message.get("steps") else ""
            self._say(f"{self.title}: {phase}{done}{' · ' + note if note else ''}")
            self._phase, self._last_line = phase, now

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _note(message: dict[str, Any]) -> str:
    if "seconds_left" not in message:
        return ""
    losses = list(message["losses"].values())
    loss = f"loss {sum(losses) / len(losses):.3f} · " if losses else ""
    return f"{loss}{message['steps_per_second']:.2f} steps/s · {format_duration(message['seconds_left'])} left"


def _evaluated(metrics: dict[str, dict[str, float]]) -> str:
    """One student: all its metrics. Several: the first of each, by name."""
    if len(metrics) == 1:
        return ", ".join(f"{key} {value:.3f}" for each in metrics.values() for key, value in each.items())
    return ", ".join(
        f"{name} {key} {value:.3f}" for name, each in metrics.items() for key, value in list(each.items())[:1]
    )

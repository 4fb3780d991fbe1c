"""Progress on stderr: a bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from side4video.core.text import printable
from side4video.core.units import format_duration
from side4video.tasks.metrics import metric_spec
from side4video.terminal.console import PlainConsole
from side4video.terminal.heartbeat import LINE_EVERY_SECONDS, heartbeat


class ProgressView:
    """Shows progress (`core.progress.Progress`); use it as a context manager."""

    def __init__(self, title: str = "", *, unit: str = "", line_every: float = LINE_EVERY_SECONDS) -> None:
        """Prepare the view.

        The title is printed before each phase. `unit` is the name of the counted items, such as `videos`; with it, the
        view computes rate and time left. Training reports its own. `line_every` is the longest time without a line in
        a log, in seconds.
        """
        self.line_every = line_every
        self.title, self.unit = title, unit
        self.console = PlainConsole(file=sys.stderr)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(16),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task(title, total=None, note="")
        self._phase, self._note, self._last_line = "", "", 0.0
        self._held = ExitStack()
        self.seconds: dict[str, float] = {}
        """Seconds of each phase that is over."""
        self._phase_began = time.monotonic()
        self._first: tuple[float, int] | None = None
        """Time of the phase's first report with items, and the number of items then."""

    def __enter__(self) -> "ProgressView":
        if self.console.is_terminal:
            self._bar.start()
        else:
            self._held.enter_context(heartbeat(self._beat, seconds=self.line_every))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._end_phase(time.monotonic())
        if self.console.is_terminal:
            self._bar.stop()

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `Progress`."""
        if phase == "evaluated":
            self._print(f"{self._head()}epoch {details['epoch'] + 1}: {evaluated_text(details['metrics'])}")
            return
        is_new, now = phase != self._phase, time.monotonic()
        if is_new:
            self._end_phase(now)
            self._phase, self._first = phase, None
            self._bar.reset(self._task, total=None)
        parts = [f"{done}/{total}"] if total else []
        parts += training_note(details) if "seconds_left" in details else self._rate(done, total, now)
        self._note = note = " · ".join(parts)
        if self.console.is_terminal:
            is_training = self.title and phase == "training"
            description = self.title if is_training else f"{self._head()}{phase}"
            self._bar.update(self._task, description=description, total=total or None, completed=done, note=note)
            return
        is_over = bool(self.unit) and 0 < done == total
        if is_new or is_over or now - self._last_line > self.line_every:
            self._print(f"{self._head()}{phase}{' ' + note if note else ''}")

    def _beat(self, now: float) -> None:
        """In a log, a line of a phase that has reported nothing for long."""
        if self._phase and now - self._last_line > self.line_every:
            note = f" {self._note}" if self._note else ""
            so_far = format_duration(now - self._phase_began)
            self._print(f"{self._head()}{self._phase}{note}, {so_far} so far")

    def note(self, text: str) -> None:
        """Print a note."""
        self._print(f"note: {text}")

    def _end_phase(self, now: float) -> None:
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._phase_began
        self._phase_began = now

    def _head(self) -> str:
        return f"{self.title}: " if self.title else ""

    def _rate(self, done: int, total: int, now: float) -> list[str]:
        """Items per second and time left, measured after the first items because processes take seconds to start."""
        if not self.unit or not total:
            return []
        start, before = self._first = self._first or (now, done)
        if done <= before or now <= start:
            return []
        rate = (done - before) / (now - start)
        return [f"{rate:.1f} {self.unit}/s", f"{format_duration((total - done) / rate)} left"]

    def _print(self, line: str) -> None:
        self._last_line = time.monotonic()
        self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def training_note(details: Mapping[str, Any]) -> list[str]:
    """Loss, rate and time left of a training, of the details of its report."""
    losses = list(details["losses"].values())
    loss = [f"loss {sum(losses) / len(losses):.3f}"] if losses else []
    return [*loss, f"{details['steps_per_second']:.2f} steps/s", f"{format_duration(details['seconds_left'])} left"]


def evaluated_text(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One student: the metrics of short tables, and the loss. Several: the first of each, by name."""
    if len(metrics) == 1:
        (each,) = metrics.values()
        shown = [key for key in each if key == "loss" or metric_spec(key).in_summary]
        return ", ".join(f"{key} {each[key]:.3f}" for key in shown)
    return ", ".join(
        f"{name} {key} {value:.3f}" for name, each in metrics.items() for key, value in list(each.items())[:1]
    )

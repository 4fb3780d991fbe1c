"""Progress in a notebook: one output that changes in its place. It needs no widgets, only HTML."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from side4video.core.text import printable
from side4video.core.units import format_duration
from side4video.terminal.progress import evaluated_text, training_note

SECONDS_PER_REFRESH = 0.25


class Output(Protocol):
    """One output of a cell."""

    def show(self, html: str, text: str) -> None:
        """Show this in place of what was shown; `text` is for front ends without HTML."""
        ...


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. IPython on a terminal is none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class CellOutput:
    """An output of the cell that runs now."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, html: str, text: str) -> None:
        """See `Output`."""
        content = {"text/html": html, "text/plain": text}
        if self._handle is not None:
            self._handle.update(content, raw=True)
            return
        from IPython.display import display  # only a kernel has it

        self._handle = display(content, raw=True, display_id=True)


@dataclass
class _Bar:
    """A phase of one pack, or of the whole."""

    phase: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


class NotebookView:
    """Shows progress (`core.progress.Progress`): a bar for each pack, and the newest metrics. Use it with `with`."""

    def __init__(
        self,
        title: str,
        *,
        names: Mapping[str, str] | None = None,
        output: Output | None = None,
        clock: Callable[[], float] = time.monotonic,
        seconds_per_refresh: float = SECONDS_PER_REFRESH,
    ) -> None:
        """`title` stands before each phase.

        `names` are those of students, by their keys. `output` is by default one of the cell that runs.
        """
        self.title, self._clock, self._seconds_per_refresh = title, clock, seconds_per_refresh
        self._output: Output = output or CellOutput()
        self._names: Mapping[str, str] = names or {}
        self._bars: dict[str, _Bar] = {}
        self._metrics = ""
        self._began = self._shown_at = clock()
        self._lock = threading.Lock()

    def __enter__(self) -> "NotebookView":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        spent = format_duration(self._clock() - self._began)
        end = f"done in {spent}" if kind is None else f"stopped after {spent}: {kind.__name__}"
        with self._lock:
            self._bars = {}
            self._show(f"{self.title}: {end}")

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `core.progress.Progress`; reports of a pack have its id as `pack`."""
        with self._lock:
            if phase == "evaluated":
                students: Mapping[str, Any] = details["metrics"]
                metrics = {self._names.get(key, key): values for key, values in students.items()}
                self._metrics = f"epoch {details['epoch'] + 1}: {evaluated_text(metrics)}"
                is_new = True
            elif phase == "seats":
                self._names = {**self._names, **details["labels"]}
                is_new = False
            else:
                is_new = self._update(phase, done, total, details)
            if is_new or self._clock() - self._shown_at >= self._seconds_per_refresh:
                self._show()

    def _update(self, phase: str, done: int, total: int, details: dict[str, Any]) -> bool:
        """Whether the phase is a new one."""
        pack = str(details.get("pack", ""))
        if pack:
            self._bars.pop("", None)
        if phase in ("done", "failed"):
            return self._bars.pop(pack, None) is not None
        bar = self._bars.setdefault(pack, _Bar())
        is_new = phase != bar.phase
        count = [f"{done}/{total}"] if total else []
        rate = training_note(details) if "seconds_left" in details else []
        bar.phase, bar.done, bar.total, bar.note = phase, done, total, " · ".join([*count, *rate])
        return is_new

    def _show(self, last: str = "") -> None:
        self._shown_at = self._clock()
        lines = [(f"{self.title}: {bar.phase}", bar) for bar in self._bars.values()]
        texts = [f"{head} {bar.note}".rstrip() for head, bar in lines]
        html = [f"<div>{_safe(head)} {_html_bar(bar)} {_safe(bar.note)}</div>" for head, bar in lines]
        for line in filter(None, (self._metrics, last)):
            texts.append(printable(line))
            html.append(f"<div>{_safe(line)}</div>")
        self._output.show("\n".join(html), printable("\n".join(texts), keep="\n"))


def _safe(text: str) -> str:
    return escape(printable(text))


def _html_bar(bar: _Bar) -> str:
    """A bar, which moves to and fro where the total is not known."""
    values = f' value="{bar.done}" max="{bar.total}"' if bar.total else ""
    return f"<progress{values}></progress>"

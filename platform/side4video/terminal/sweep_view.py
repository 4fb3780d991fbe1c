"""Shows the progress of a sweep: a live table on a terminal, or plain lines in a log."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import nan
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from side4video.core.text import printable
from side4video.core.units import format_duration
from side4video.spec.arm import Arm
from side4video.terminal.console import PlainConsole
from side4video.terminal.heartbeat import LINE_EVERY_SECONDS, heartbeat

REFRESHES_PER_SECOND = 4
MAX_ARMS = 40
STYLES = {
    "training": "bold",
    "finished": "green",
    "ended": "green",
    "stopped": "yellow",
    "diverged": "red",
    "failed": "red",
}
ENDED = frozenset({"finished", "ended", "stopped", "diverged", "failed", "done before"})


@dataclass
class ArmState:
    """An arm as the view shows it."""

    label: str
    state: str = "waiting"
    epoch: int = 0
    metric: float = nan
    best: float = nan


@dataclass
class PackState:
    """A pack as the view shows it."""

    number: int
    """Counted from 1, in the order in which packs started."""
    arms: tuple[str, ...] = ()
    phase: str = ""
    done: int = 0
    total: int = 0
    """Items of the phase; 0 if unknown."""
    steps_per_second: float = 0.0
    seconds_left: float = 0.0


class SweepView:
    """Shows the progress of a sweep (`core.progress.Progress`); use it as a context manager."""

    seconds_per_line = LINE_EVERY_SECONDS
    """Minimum time between two lines of a log about one phase."""

    def __init__(self, title: str, metric: str, *, mode: str, videos_per_step: int) -> None:
        """Prepare the view.

        `metric` is the metric to compare arms by, such as `eval/top1`; `mode`, `max` or `min`, says which values are
        better.
        """
        self.title, self.metric, self.mode = title, metric.partition("/")[2], mode
        self.videos_per_step = videos_per_step
        self.console = PlainConsole(file=sys.stderr)
        self.phase = ""
        self.packs: dict[str, PackState] = {}
        self.arms: dict[str, ArmState] = {}
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._last_line = 0.0
        self._held = ExitStack()

    def __enter__(self) -> "SweepView":
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self.render,
                console=self.console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        else:
            self._held.enter_context(heartbeat(self._beat, seconds=self.seconds_per_line))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        if self._live is not None:
            self._live.stop()

    def add_arms(self, arms: Sequence[Arm], done: Mapping[str, str]) -> None:
        """Add the arms.

        `done` has the states of completed arms, by key.
        """
        with self._lock:
            for arm in arms:
                self.arms[arm.short_key] = ArmState(arm.title, done.get(arm.key, "waiting"))

    def report(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """See `core.progress.Progress`; reports of a pack have its id as `pack`."""
        with self._lock:
            if "pack" in details:
                pack = self.packs.setdefault(details["pack"], PackState(len(self.packs) + 1))
                self.phase = ""
                self._update_pack(pack, phase, done, total, details)
            elif phase == "refused":
                self._print(f"{self.title}: a proposal was refused: {details['reason']}", stays=True)
            else:
                if not total:
                    self._print(f"{self.title}: {phase}")
                self.phase = phase + _count(done, total)

    def render(self) -> Group:
        """The view as a Rich renderable."""
        with self._lock:
            where = self._summary()
            lines = [Text(f"{self.title}: {where}" if where else self.title, style="bold")]
            lines += [Text(_pack_line(pack, self.videos_per_step)) for pack in self._active_packs()]
            return Group(*lines, self._table()) if self.arms else Group(*lines)

    # ---- updates

    def _update_pack(self, pack: PackState, phase: str, done: int, total: int, details: Mapping[str, Any]) -> None:
        if "arms" in details:
            pack.arms = tuple(details["arms"])
            for name in pack.arms:
                self.arms.setdefault(name, ArmState(name)).state = "waiting"
        if phase == "seats":
            self._update_seats(pack, details)
            return
        if phase != "evaluated":
            pack.done, pack.total = done, total
        match phase:
            case "evaluated":
                self._update_metrics(details)
            case "training":
                pack.steps_per_second = details.get("steps_per_second", pack.steps_per_second)
                pack.seconds_left = details.get("seconds_left", pack.seconds_left)
                self._update_states(pack, details.get("losses", {}))
            case "done" if "states" in details:
                for name, state in details["states"].items():
                    self._arm(name).state = state
            case "failed":
                for name in pack.arms:
                    self._arm(name).state = "failed"
        if phase not in ("evaluated", pack.phase):
            pack.phase = phase
            self._print_phase(pack, details)
        elif time.monotonic() - self._last_line > self.seconds_per_line and pack.steps_per_second:
            self._print(f"{self.title}: {_pack_line(pack, self.videos_per_step)}")

    def _update_metrics(self, details: Mapping[str, Any]) -> None:
        better = max if self.mode == "max" else min
        for name, metrics in details["metrics"].items():
            arm = self._arm(name)
            arm.epoch, arm.metric = details["epoch"] + 1, metrics.get(self.metric, nan)
            arm.best = arm.metric if arm.best != arm.best else better(arm.best, arm.metric)
        values = {name: each[self.metric] for name, each in details["metrics"].items() if self.metric in each}
        summary_text = f"{_arms(len(details['metrics']))} evaluated"
        if values:
            first = better(values, key=lambda name: values[name])
            among = f"best of {len(values)} arms: " if len(values) > 1 else ""
            summary_text = f"{among}{self._arm(first).label}, {self.metric} {values[first]:.3f}"
        self._print(f"{self.title}: epoch {details['epoch'] + 1}: {summary_text}")

    def _update_states(self, pack: PackState, losses: Mapping[str, float]) -> None:
        for name in pack.arms:
            arm = self._arm(name)
            if name in losses:
                arm.state = "training"
            elif losses and arm.state == "training":
                arm.state = "stopped"

    def _update_seats(self, pack: PackState, details: Mapping[str, Any]) -> None:
        """Arms joined an endless pass or left it."""
        labels, states = details["labels"], details["states"]
        for name, label in labels.items():
            self._arm(name).label = label
        before = {name: self._arm(name).state for name in states}
        for name, state in states.items():
            self._arm(name).state = state
        pack.arms = tuple(details["seated"])
        joined = [labels[name] for name, state in states.items() if state == "training" != before[name]]
        left = [
            f"{labels[name]} ({state})" for name, state in states.items() if state not in (before[name], "training")
        ]
        parts = [f"join: {'; '.join(joined)}"] if joined else []
        parts += [f"leave: {'; '.join(left)}"] if left else []
        if parts:
            waiting = f" · {details['waiting']} wait" if details["waiting"] else ""
            self._print(f"{self.title}: before epoch {details['epoch'] + 1} of the pass {', '.join(parts)}{waiting}")

    def _arm(self, name: str) -> ArmState:
        return self.arms.setdefault(name, ArmState(name))

    def _beat(self, now: float) -> None:
        """In a log, a line about what goes on if nothing was printed for long."""
        with self._lock:
            if now - self._last_line <= self.seconds_per_line:
                return
            if packs := self._active_packs():
                self._print(f"{self.title}: {_pack_line(packs[0], self.videos_per_step)}")
            elif self.phase:
                self._print(f"{self.title}: {self.phase}")

    # ---- rendering

    def _summary(self) -> str:
        states = [arm.state for arm in self.arms.values()]
        counts = f"{sum(state in ENDED for state in states)} of {_arms(len(states))} ended" if states else ""
        return ", ".join(part for part in (counts, self.phase) if part)

    def _active_packs(self) -> list[PackState]:
        return [pack for pack in self.packs.values() if pack.phase not in ("done", "failed")]

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("arm", no_wrap=True, max_width=60)
        for name in ("epoch", self.metric, "best", "state"):
            table.add_column(name, justify="right" if name != "state" else "left", no_wrap=True)
        max_rows = max(5, min(MAX_ARMS, self.console.height - len(self._active_packs()) - 4))
        shown = self._visible_arms(max_rows)
        for arm in shown:
            value, best = (f"{number:.3f}" if number == number else "" for number in (arm.metric, arm.best))
            state = Text(arm.state, style=STYLES.get(arm.state, "dim"))
            table.add_row(Text(printable(arm.label)), str(arm.epoch or ""), value, best, state)
        if len(shown) < len(self.arms):
            table.add_row(f"… and {len(self.arms) - len(shown)} more", "", "", "", "")
        return table

    def _visible_arms(self, count: int) -> list[ArmState]:
        """All arms in order. If they do not fit, those that train and the best."""
        arms = list(self.arms.values())
        if len(arms) <= count:
            return arms
        sign = -1.0 if self.mode == "max" else 1.0
        ranked = sorted(
            arms, key=lambda arm: (arm.state != "training", sign * arm.best if arm.best == arm.best else 9e9)
        )
        chosen = {id(arm) for arm in ranked[: count - 1]}
        return [arm for arm in arms if id(arm) in chosen]

    def _print_phase(self, pack: PackState, details: Mapping[str, Any]) -> None:
        head = f"{self.title}: pack {pack.number}"
        if pack.phase == "failed":
            self._print(f"{head}: {_arms(len(pack.arms))} failed: {details['reason']}", stays=True)
        elif pack.phase != "done" or "states" in details:
            self._print(f"{head}: {pack.phase}")

    def _print(self, line: str, *, stays: bool = False) -> None:
        """Print a line in a log. Above a live table only lines that should stay are printed."""
        if self._live is None or stays:
            self._last_line = time.monotonic()
            self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _pack_line(pack: PackState, videos_per_step: int) -> str:
    shared = "on one pass" if len(pack.arms) > 1 else "on a pass of its own"
    line = f"pack {pack.number}: {_arms(len(pack.arms))} {shared}: {pack.phase}{_count(pack.done, pack.total)}"
    if pack.phase != "training" or not pack.steps_per_second:
        return line
    rate = f"{pack.steps_per_second * videos_per_step:.1f} clips/s"
    return f"{line} · {rate} · {format_duration(pack.seconds_left)} left"


def _count(done: int, total: int) -> str:
    return f" {done}/{total}" if total else ""


def _arms(count: int) -> str:
    return "1 arm" if count == 1 else f"{count} arms"

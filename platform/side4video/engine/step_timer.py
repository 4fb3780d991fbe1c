"""Times the phases of a step without making the host wait for the device."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

Phase = str
Owner = str | tuple[str, ...]
"""A student, or the students that share something; empty: all students."""
Mark = tuple[Phase, Owner, "float | torch.cuda.Event"]
"""A phase that ended: its name, its owner, and the time."""


@dataclass
class StepTimer:
    """Records the end of each phase; on CUDA with events, which are read later.

    A phase may occur several times in a step, once for each student and micro-batch; its times are added.
    """

    device: torch.device
    marks: list[Mark] = field(default_factory=list)

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def start(self) -> None:
        """Begin a step."""
        self.marks = [("", "", self._now())]

    def mark(self, phase: Phase, owner: Owner = "") -> None:
        """End a phase, which began at the last mark; `owner` is its student, or the students that share it."""
        self.marks.append((phase, owner, self._now()))

    def take(self) -> list[Mark]:
        """The marks of the step, for `phase_seconds`."""
        return self.marks


def phase_seconds(marks: Sequence[Mark]) -> dict[Phase, float]:
    """Seconds of each phase. Waits until the device has finished the step."""
    return _add((phase, length) for phase, _, length in _lengths(marks))


def student_seconds(marks: Sequence[Mark]) -> dict[str, float]:
    """Seconds that were spent on each student."""
    return _add((owner, length) for _, owner, length in _lengths(marks) if owner and isinstance(owner, str))


def shared_seconds(marks: Sequence[Mark]) -> dict[str, float]:
    """Seconds of what each student shares with others: with all, and with those of its tower."""
    lengths = [(owner, length) for _, owner, length in _lengths(marks)]
    for_all = sum(length for owner, length in lengths if not owner)
    of_tower = _add((student, length) for owner, length in lengths if isinstance(owner, tuple) for student in owner)
    students = {owner for owner, _ in lengths if owner and isinstance(owner, str)}
    return {student: for_all + of_tower.get(student, 0.0) for student in students}


def _add(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, length in parts:
        sums[name] = sums.get(name, 0.0) + length
    return sums


def _lengths(marks: Sequence[Mark]) -> Iterator[tuple[Phase, Owner, float]]:
    for (_, _, before), (phase, owner, after) in itertools.pairwise(marks):
        if isinstance(before, float):
            length = float(after) - before  # type: ignore[arg-type]
        else:
            after.synchronize()  # type: ignore[union-attr]
            length = before.elapsed_time(after) / 1000.0  # type: ignore[arg-type]
        yield phase, owner, length

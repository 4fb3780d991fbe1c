"""Times the phases of a step without making the host wait for the device."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

Phase = str
Mark = tuple[Phase, str, "float | torch.cuda.Event"]
"""A phase that ended: its name, its student (empty: all students), and the time."""


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

    def mark(self, phase: Phase, owner: str = "") -> None:
        """End a phase, which began at the last mark; `owner` is its student, if it belongs to one."""
        self.marks.append((phase, owner, self._now()))

    def take(self) -> list[Mark]:
        """The marks of the step, for `phase_seconds`."""
        return self.marks


def phase_seconds(marks: Sequence[Mark]) -> dict[Phase, float]:
    """Seconds of each phase. Waits until the device has finished the step."""
    return _add((phase, length) for phase, _, length in _lengths(marks))


def student_seconds(marks: Sequence[Mark]) -> dict[str, float]:
    """Seconds that were spent on each student."""
    return _add((owner, length) for _, owner, length in _lengths(marks) if owner)


def _add(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, length in parts:
        sums[name] = sums.get(name, 0.0) + length
    return sums


def _lengths(marks: Sequence[Mark]) -> Iterator[tuple[Phase, str, float]]:
    for (_, _, before), (phase, owner, after) in itertools.pairwise(marks):
        if isinstance(before, float):
            length = float(after) - before  # type: ignore[arg-type]
        else:
            after.synchronize()  # type: ignore[union-attr]
            length = before.elapsed_time(after) / 1000.0  # type: ignore[arg-type]
        yield phase, owner, length

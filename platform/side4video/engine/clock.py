"""Where the time of a step goes, without making the host wait for the device."""

import itertools
import time
from dataclasses import dataclass, field

import torch

Phase = str


@dataclass
class Clock:
    """Marks between phases; on CUDA, events that are read once they have happened.

    A phase may be entered several times in a step (once for each student and micro-batch); its parts add up.
    """

    device: torch.device
    marks: list[tuple[Phase, float | torch.cuda.Event]] = field(default_factory=list)

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def start(self) -> None:
        """Begin a step."""
        self.marks = [("", self._now())]

    def mark(self, phase: Phase) -> None:
        """Say that what ran since the last mark was `phase`."""
        self.marks.append((phase, self._now()))

    def take(self) -> list[tuple[Phase, float | torch.cuda.Event]]:
        """The step's marks, to be read later by `seconds`."""
        return self.marks


def seconds(marks: list[tuple[Phase, float | torch.cuda.Event]]) -> dict[Phase, float]:
    """Seconds of each phase; waits for the device if it has not come so far."""
    spent: dict[Phase, float] = {}
    for (_, before), (phase, after) in itertools.pairwise(marks):
        if isinstance(before, float):
            length = float(after) - before  # type: ignore[arg-type]
        else:
            after.synchronize()  # type: ignore[union-attr]
            length = before.elapsed_time(after) / 1000.0  # type: ignore[arg-type]
        spent[phase] = spent.get(phase, 0.0) + length
    return spent

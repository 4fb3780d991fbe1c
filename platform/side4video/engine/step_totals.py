"""What the steps of a run took, added up over all its processes.

A checkpoint keeps it, and a resumed run goes on with it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from side4video.engine.callbacks import StepInfo


@dataclass
class StudentSeconds:
    """Seconds of one student's steps."""

    own: float = 0.0
    """Spent on this student."""
    alone: float = 0.0
    """Spent on this student, and on what all students share."""
    steps: int = 0


@dataclass
class StepTotals:
    """Sums over steps. The first step of each process is left out, because it is slow."""

    steps: int = 0
    clips: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    """By phase of a step."""
    students: dict[str, StudentSeconds] = field(default_factory=dict)

    def add(self, info: StepInfo) -> None:
        """Add a step."""
        self.steps += 1
        self.clips += info.clips
        for phase, spent in info.seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent
        shared = sum(info.seconds.values()) - sum(info.own_seconds.values())
        for name, spent in info.own_seconds.items():
            student = self.students.setdefault(name, StudentSeconds())
            student.own += spent
            student.alone += info.shared_seconds.get(name, shared) + spent
            student.steps += 1

    def means(self) -> dict[str, float]:
        """Means over the steps: `step_s`, its phases, `clips_per_s` and `data_wait_fraction`."""
        steps, total = max(1, self.steps), sum(self.seconds.values())
        phases = {f"{phase}_s": spent / steps for phase, spent in sorted(self.seconds.items())}
        rate = self.clips / total if total else float("nan")
        wait = self.seconds.get("data_wait", 0.0) / total if total else float("nan")
        return {"step_s": total / steps, **phases, "clips_per_s": rate, "data_wait_fraction": wait}

    def student_means(self, name: str) -> dict[str, float]:
        """Means over a student's steps, in seconds.

        `own_step_s` is the time spent on this student. `alone_step_s` adds the shared time (loading, backbone): it
        estimates a step of the student trained alone, with its tower as deep as the pack needs it.
        """
        student = self.students.get(name)
        if student is None:
            return {}
        return {"own_step_s": student.own / student.steps, "alone_step_s": student.alone / student.steps}

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The totals from `as_json`."""
        students = {name: StudentSeconds(**each) for name, each in document["students"].items()}
        return cls(document["steps"], document["clips"], dict(document["seconds"]), students)

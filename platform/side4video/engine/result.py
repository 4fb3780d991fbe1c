"""The result of a student's training."""

from dataclasses import dataclass, field
from typing import Any

from side4video.core.units import as_gib
from side4video.engine.epoch_callback import EpochCallback
from side4video.engine.step import Plan
from side4video.engine.student import Student


@dataclass(frozen=True)
class TrainingResult:
    """The result of one student. It is stored as JSON with the field names as keys."""

    state: str
    steps: int
    """Optimizer steps of the whole plan."""
    steps_trained: int
    """Steps that this student took: fewer if it was stopped."""
    metrics: dict[str, float]
    memory: dict[str, float]
    time: dict[str, float]
    trainable_parameters: int
    backbone_fingerprint: str
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """See `Report.notes`."""


def constant_metrics(student: Student, held_bytes: int) -> dict[str, float]:
    """Metrics of a student that are constant during training."""
    return {
        "memory/held_for_backward_gib": as_gib(held_bytes),
        "model/trainable_parameters": float(student.trainable_parameters),
    }


def _own_notes(student: Student, epoch_callback: EpochCallback, plan: Plan) -> list[str]:
    """What a reader should know of this student alone."""
    if student.state != "ended":
        return []
    epochs = -(-epoch_callback.steps_trained[student.name] // plan.steps_per_epoch)
    return [f"ended early, after epoch {epochs}: the validation split gave no better value"]


def training_result(
    student: Student, epoch_callback: EpochCallback, plan: Plan, fingerprint: str, measured: tuple[int, float]
) -> TrainingResult:
    """The result of a student; `measured` are its bytes held for backward, and the seconds of this process."""
    held, elapsed = measured
    totals = epoch_callback.metrics_logger.totals
    peak = {f"{name}_gib": as_gib(value) for name, value in student.memory_metrics().items()}
    return TrainingResult(
        steps=plan.steps,
        steps_trained=epoch_callback.steps_trained.get(student.name, plan.steps),
        state="finished" if student.state in ("training", "ended") else student.state,
        metrics=epoch_callback.latest.get(student.name, {}),
        memory={"held_for_backward_gib": as_gib(held), **peak},
        time={
            "total_s": elapsed + epoch_callback.seconds_before,
            **totals.means(),
            **totals.student_means(student.name),
        },
        trainable_parameters=student.trainable_parameters,
        backbone_fingerprint=fingerprint,
        broken_clips=epoch_callback.broken_clips,
        notes=[*epoch_callback.notes, *_own_notes(student, epoch_callback, plan)],
    )

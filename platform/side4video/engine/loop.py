"""The one training loop."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from side4video.core.errors import Side4VideoError
from side4video.engine.callbacks import Callback, EpochInfo, StepInfo
from side4video.engine.pack import Batch, Pack, TrainingBatches
from side4video.engine.preemption import CheckpointTimer, StopRequest
from side4video.engine.step import Plan, StepResult, train_step
from side4video.engine.step_timer import Mark, StepTimer, phase_seconds, shared_seconds, student_seconds
from side4video.engine.student import Student

Launched = tuple[StepResult, list[Mark], int]


def train(
    pack: Pack,
    stream: TrainingBatches,
    *,
    plan: Plan,
    callbacks: Sequence[Callback],
    first_step: int = 0,
    is_open: bool = False,
    checkpoint_timer: CheckpointTimer | None = None,
    is_endless: bool = False,
) -> None:
    """Train the active students of `pack` from `first_step` to the end of `plan`.

    With `is_endless`, steps go on for as long as a student trains: callbacks let students join and leave, and each ends
    on its own clock (`Student.offset`).

    The losses of a step are read after the next step was launched, so the host does not wait for the device. Before a
    checkpoint they are read at once. A student whose gradients are not finite is stopped; the others continue.
    Callbacks are called in their order after each step and epoch. `is_open` says whether the epoch before `first_step`
    is still to be evaluated. Without `checkpoint_timer`, no checkpoint is written between steps.

    Raises:
        Side4VideoError: If all students diverged.
        Interrupted: If the run was asked to stop.
    """
    timer = StepTimer(pack.students[0].process.device)
    launched: Launched | None = None
    if is_open:
        _end_epoch(callbacks, _epoch_info(first_step - 1, plan), checkpoint_timer)
    timer.start()
    left_epochs: set[int] = set()
    steps = _steps(stream, plan, first_step, left_epochs if is_endless else None)
    # A run may go on from a checkpoint in which all have ended, and then only its result is missing.
    for step, epoch, parts in steps if pack.active_students else ():
        timer.mark("data_wait")
        result = train_step(pack, parts, step=step, plan=plan, timer=timer)
        _report(pack, callbacks, launched)
        launched = (result, timer.take(), epoch)
        stop_request = checkpoint_timer.common_request() if checkpoint_timer else StopRequest.NOTHING
        ending = [student for student in pack.active_students if student.own_step(step + 1) == plan.steps]
        is_end = (step + 1) % plan.steps_per_epoch == 0 or bool(ending)
        if stop_request or is_end:
            _report(pack, callbacks, launched)
            launched = None
        if ending:
            _stop_unfinite(ending, {name: float(loss) for name, loss in result.losses.items()})
        if stop_request and checkpoint_timer:
            checkpoint_timer.pause(_epoch_info(step, plan), stop_request, is_open=is_end)
        if is_end:
            _end_epoch(callbacks, _epoch_info(step, plan), checkpoint_timer)
        if is_endless and not pack.active_students and (step + 1) % plan.steps_per_epoch:
            # Nobody is left to train in this epoch, and others may wait for the next one.
            left_epochs.add(epoch)
            _end_epoch(callbacks, _epoch_info((epoch + 1) * plan.steps_per_epoch - 1, plan), checkpoint_timer)
        if not pack.active_students:
            break
        timer.start()
    if not is_endless:
        _check_diverged(pack)


def _check_diverged(pack: Pack) -> None:
    if all(student.state == "diverged" for student in pack.students):
        raise Side4VideoError(
            "training diverged: loss, gradients, weights or scores of "
            f"{', '.join(student.name for student in pack.students)} are not finite "
            "· fix: lower optimization.learning_rate, add clipping {kind: norm}, or use precision bf16 or fp32"
        )


def _epoch_info(step: int, plan: Plan) -> EpochInfo:
    """The position of the run after a step."""
    return EpochInfo(
        step // plan.steps_per_epoch,
        step + 1,
        is_last=step + 1 == plan.steps,
        steps=plan.steps,
        steps_per_epoch=plan.steps_per_epoch,
    )


def _end_epoch(callbacks: Sequence[Callback], info: EpochInfo, checkpoint_timer: CheckpointTimer | None) -> None:
    for hook in callbacks:
        hook.after_epoch(info)
    if checkpoint_timer:
        checkpoint_timer.mark_saved()


def _steps(
    stream: TrainingBatches, plan: Plan, first_step: int, left_epochs: Collection[int] | None
) -> Iterator[tuple[int, int, Sequence[Batch]]]:
    """The steps from `first_step`; without an end if there are `left_epochs`, those whose other steps are left out."""
    step = first_step
    while left_epochs is not None or step < plan.steps:
        epoch, offset = divmod(step, plan.steps_per_epoch)
        for parts in stream.batches(epoch, offset):
            yield step, epoch, parts
            step += 1
            if left_epochs is None and step == plan.steps:
                return
            if left_epochs is not None and epoch in left_epochs:
                step = (epoch + 1) * plan.steps_per_epoch
                break


def _stop_unfinite(ending: Sequence[Student], losses: Mapping[str, float]) -> None:
    """Stop as diverged the students that end with a loss or with weights that are not finite. Collective.

    In fp16 the scaler skips steps, so a student may reach the end before `check_gradient_norm` stops it.
    """
    own = [
        student.name
        for student in ending
        if student.is_training
        and student.trainable_parameters
        and not (math.isfinite(losses.get(student.name, 0.0)) and student.is_finite())
    ]
    names = {name for others in ending[0].process.gather(own) for name in others}
    for student in ending:
        if student.name in names:
            student.stop("diverged")


def _report(pack: Pack, callbacks: Sequence[Callback], launched: Launched | None) -> None:
    if launched is None:
        return
    result, marks, epoch = launched
    info = StepInfo(
        step=result.step,
        epoch=epoch,
        clips=result.clips,
        share=result.share,
        losses={name: float(value) for name, value in result.losses.items()},
        gradient_norms={name: float(value) for name, value in result.gradient_norms.items()},
        learning_rates=result.learning_rates,
        seconds=phase_seconds(marks),
        own_seconds=student_seconds(marks),
        shared_seconds=shared_seconds(marks),
    )
    for student in pack.active_students:
        if student.name in info.gradient_norms:
            student.check_gradient_norm(info.gradient_norms[student.name])
    for hook in callbacks:
        hook.after_step(info)

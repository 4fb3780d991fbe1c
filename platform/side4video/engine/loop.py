"""The one training loop."""

from collections.abc import Collection, Iterator, Sequence

from side4video.core.errors import Side4VideoError
from side4video.engine.clock import Clock, Mark, own_seconds, seconds
from side4video.engine.hooks import EpochInfo, Hook, StepInfo
from side4video.engine.pack import Batch, Pack, TrainingBatches
from side4video.engine.pauses import Pauses, Wish
from side4video.engine.step import Plan, StepOutcome, train_step

Launched = tuple[StepOutcome, list[Mark], int]


def train(
    pack: Pack,
    stream: TrainingBatches,
    *,
    plan: Plan,
    hooks: Sequence[Hook],
    first_step: int = 0,
    is_open: bool = False,
    pauses: Pauses | None = None,
) -> None:
    """Train the living students of `pack` from `first_step` to the end of `plan`.

    The numbers of a step are read after the next one was launched, so the host does not wait for the device; before
    a pause, at once. A student whose gradients stop being numbers is stopped alone.

    Args:
        pack: The students.
        stream: Gives the batches of an epoch from any step on.
        plan: How long.
        hooks: Hear of steps and ends of epochs, in this order.
        first_step: Where a run goes on.
        is_open: Whether the end of the epoch before `first_step` is still to be done.
        pauses: Decides on checkpoints between steps; None makes none.

    Raises:
        Side4VideoError: If no student is left that trains.
        Interrupted: If `pauses` has the workers leave.
    """
    clock = Clock(pack.students[0].process.device)
    launched: Launched | None = None
    if is_open:
        _end_epoch(pack, hooks, _info(first_step - 1, plan), pauses)
    clock.start()
    for step, epoch, parts in _steps(stream, plan, first_step):
        clock.mark("data_wait")
        outcome = train_step(pack, parts, step=step, plan=plan, clock=clock)
        _tell(pack, hooks, launched)
        launched = (outcome, clock.take(), epoch)
        wish = pauses.agreed() if pauses else Wish.NOTHING
        is_end = (step + 1) % plan.steps_per_epoch == 0 or step + 1 == plan.steps
        if wish or is_end:
            _tell(pack, hooks, launched)
            launched = None
        if wish and pauses:
            pauses.pause(_info(step, plan), wish, is_open=is_end)
        if is_end:
            _end_epoch(pack, hooks, _info(step, plan), pauses)
        if not pack.living:
            break
        clock.start()
    if all(student.state == "diverged" for student in pack.students):
        raise Side4VideoError(
            f"training diverged: gradients of {', '.join(student.name for student in pack.students)} are not finite "
            "· fix: lower optimization.learning_rate, add clipping {kind: norm}, or use precision bf16 or fp32"
        )


def _info(step: int, plan: Plan) -> EpochInfo:
    """Where a run is after a step."""
    return EpochInfo(step // plan.steps_per_epoch, step + 1, is_last=step + 1 == plan.steps)


def _end_epoch(pack: Pack, hooks: Sequence[Hook], info: EpochInfo, pauses: Pauses | None) -> None:
    for hook in hooks:
        _stop(pack, hook.after_epoch(info))
    if pauses:
        pauses.saved()


def _steps(stream: TrainingBatches, plan: Plan, first_step: int) -> Iterator[tuple[int, int, Sequence[Batch]]]:
    step = first_step
    while step < plan.steps:
        epoch, offset = divmod(step, plan.steps_per_epoch)
        for parts in stream.batches(epoch, offset):
            yield step, epoch, parts
            step += 1
            if step == plan.steps:
                return


def _tell(pack: Pack, hooks: Sequence[Hook], launched: Launched | None) -> None:
    if launched is None:
        return
    outcome, marks, epoch = launched
    info = StepInfo(
        step=outcome.step,
        epoch=epoch,
        clips=outcome.clips,
        share=outcome.share,
        losses={name: float(value) for name, value in outcome.losses.items()},
        gradient_norms={name: float(value) for name, value in outcome.gradient_norms.items()},
        learning_rates=outcome.learning_rates,
        seconds=seconds(marks),
        own_seconds=own_seconds(marks),
    )
    for student in pack.living:
        if student.name in info.gradient_norms:
            student.judge(info.gradient_norms[student.name])
    for hook in hooks:
        hook.after_step(info)


def _stop(pack: Pack, names: Collection[str]) -> None:
    for student in pack.living:
        if student.name in names:
            student.stop()

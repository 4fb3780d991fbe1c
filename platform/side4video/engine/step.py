"""One optimizer step of every living student, on one frozen pass."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from side4video.engine.memory import PeakBytes, measure_held, weights_under
from side4video.engine.optimizer import learning_rate_at
from side4video.engine.pack import Batch, MockBatch, Pack
from side4video.engine.step_timer import StepTimer


@dataclass(frozen=True)
class Plan:
    """How long a pack trains, in optimizer steps."""

    steps: int
    steps_per_epoch: int
    shares: float | None = None
    """How often this worker's share fits into the batch; None: as often as there are workers."""


@dataclass(frozen=True)
class StepResult:
    """What a step left on the device; reading it waits for the device."""

    step: int
    clips: float
    """Of all workers."""
    share: float
    """This worker's part of them."""
    losses: dict[str, Tensor]
    gradient_norms: dict[str, Tensor]
    learning_rates: dict[str, float]


def train_step(pack: Pack, parts: Sequence[Batch], *, step: int, plan: Plan, timer: StepTimer) -> StepResult:
    """Forward, backward and update of each living student, one after another.

    Each part of the batch takes one frozen pass; each student finishes with it before the next one starts, and its
    gradients are gone with its update, so the activations and (in a batch of one part) the gradients held are those
    of one student, however many there are.
    """
    active_students = pack.active_students
    process = active_students[0].process
    local = sum(len(part) for part in parts)
    shares = plan.shares or process.world
    clips = local * shares
    losses = {student.name: torch.zeros((), device=process.device) for student in active_students}
    norms, rates = {}, {}
    for number, part in enumerate(parts):
        batch = part.to(process.device)
        timer.mark("transfer")
        features = pack.features_for(active_students, batch)
        targets = {student.name: student.task.targets(batch) for student in active_students}
        del batch  # features that were read with it are let go of by the last student, and by nobody later
        timer.mark("backbone")
        last = number == len(parts) - 1
        for student in active_students:
            draw = step * len(parts) + number
            loss = student.accumulate(
                features,
                targets[student.name],
                clips=clips,
                synchronise=last,
                draw=draw,
                is_last=student is active_students[-1],
            )
            losses[student.name] += loss / local
            timer.mark("side", student.name)
            if last:
                rate = learning_rate_at(step, student.spec, steps=plan.steps, steps_per_epoch=plan.steps_per_epoch)
                norms[student.name], rates[student.name] = student.update(rate), rate
                timer.mark("optimizer", student.name)
        del features
    return StepResult(step, clips, 1 / shares, losses, norms, rates)


def dry_run(
    pack: Pack, video_BTCHW: Tensor, stored: Mapping[str, Tensor] | None = None, *, resident: Iterable[Tensor] = ()
) -> dict[str, int]:
    """Run each student forward and backward once on a mock batch and leave no trace but `Student.dry_run_bytes`.

    An out-of-memory or a shape that does not fit speaks now, before the first epoch.

    Args:
        pack: The students.
        video_BTCHW: Frames.
        stored: Features in the form of kept ones, on the students' device; None computes them from the frames.
        resident: What lies in memory beside a student: the tower's weights. Counted on a CPU alone.

    Returns:
        Bytes held for backward, by student.
    """
    held = {}
    beside = [*resident, video_BTCHW, *(stored or {}).values()]
    for student in pack.active_students:
        device = student.process.device
        buffers = {name: buffer.clone() for name, buffer in student.module.named_buffers()}
        peak_bytes = PeakBytes([*beside, *student.weights()]) if device.type == "cpu" else None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), peak_bytes or nullcontext():
            # The gradients of a part are there while the next one runs.
            for _ in range(min(2, student.spec.accumulation)):
                features = pack.features_for([student], MockBatch(video_BTCHW.to(device), stored))
                targets = student.task.mock_targets(len(video_BTCHW), device)
                with measure_held(weights_under(student.module)) as bytes_held:
                    with student.autocast(student.spec.precision):
                        outputs = student.module(features, targets)
                    features.release()
                    loss = student.task.loss(outputs, targets)
                if loss.requires_grad:
                    loss.backward()
                held[student.name] = bytes_held.total
                del features, targets, outputs, loss
        student.dry_run_bytes = peak_bytes.peak if peak_bytes else 0
        student.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in student.module.named_buffers():
                buffer.copy_(buffers[name])
    return held

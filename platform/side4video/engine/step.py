"""One optimizer step of every active student, on one frozen pass of each tower."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from side4video.engine.memory import PeakBytes, measure_held, weights_under
from side4video.engine.optimizer import learning_rate_at
from side4video.engine.pack import Batch, MockBatch, Pack, blank_neighbours
from side4video.engine.step_timer import StepTimer
from side4video.engine.student import Student

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How long the students of a pack train, in optimizer steps."""

    steps: int
    """Of each student."""
    steps_per_epoch: int
    shares: float | None = None
    """Batch size divided by this worker's share; None: the number of workers."""


@dataclass(frozen=True)
class StepResult:
    """The results of a step as device tensors; reading them waits for the device."""

    step: int
    clips: float
    """Clips of the step, over all workers."""
    share: float
    """This worker's fraction of the clips."""
    losses: dict[str, Tensor]
    gradient_norms: dict[str, Tensor]
    learning_rates: dict[str, float]


def train_step(pack: Pack, parts: Sequence[Batch], *, step: int, plan: Plan, timer: StepTimer) -> StepResult:
    """Forward, backward and update of each active student, one after another.

    Each micro-batch takes one frozen pass of each tower, one tower after another. A student frees its activations
    before the next student starts, and its gradients with its update. So memory holds the activations of one student
    at a time, and, with one micro-batch per step, the gradients of one student.
    """
    active_students = [student for student in pack.active_students if not student.is_fixed]
    process = pack.active_students[0].process
    local = sum(len(part) for part in parts)
    shares = plan.shares or process.world
    clips = local * shares
    losses = {student.name: torch.zeros((), device=process.device) for student in active_students}
    norms: dict[str, Tensor] = {}
    rates: dict[str, float] = {}
    passes = pack.passes_of(active_students)
    for number, part in enumerate(parts):
        held = [part.to(process.device)]
        timer.mark("transfer")
        targets = {student.name: student.task.targets(held[0]) for student in active_students}
        last = number == len(parts) - 1
        for frozen in passes:
            # The batch may refer to cached features, which the last student releases.
            features = frozen.features_for(frozen.students, held.pop() if frozen is passes[-1] else held[0])
            timer.mark("backbone", tuple(each.name for each in frozen.students) if len(passes) > 1 else "")
            for student in frozen.students:
                own_step = student.own_step(step)
                with _failing_alone(student, is_isolated=pack.isolates_failures):
                    loss = student.accumulate(
                        features,
                        targets[student.name],
                        clips=clips,
                        synchronize=last,
                        draw=own_step * len(parts) + number,
                        is_last=student is frozen.students[-1],
                    )
                    losses[student.name] += loss / local
                    timer.mark("side", student.name)
                    if last:
                        length = {"steps": plan.steps, "steps_per_epoch": plan.steps_per_epoch}
                        rate = learning_rate_at(own_step, student.spec, **length)
                        norms[student.name], rates[student.name] = student.update(rate), rate
                        timer.mark("optimizer", student.name)
            del features
        active_students = [student for student in active_students if student.is_training]
        passes = pack.passes_of(active_students)
        if not passes:
            break
    losses = {student.name: losses[student.name] for student in active_students}
    return StepResult(step, clips, 1 / shares, losses, norms, rates)


@contextmanager
def _failing_alone(student: Student, *, is_isolated: bool) -> Iterator[None]:
    """If failures are isolated, an error inside the block ends this student and no other one."""
    try:
        yield
    except Exception as error:
        if not is_isolated:
            raise
        student.failure = " ".join(str(error).split())[:1000] or type(error).__name__
        log.warning("%s fails and leaves the pass: %s", student.name, student.failure)
        student.stop("failed")


def dry_run(
    pack: Pack, video_BTCHW: Tensor, stored: Mapping[str, Tensor] | None = None, *, resident: Iterable[Tensor] = ()
) -> dict[str, int]:
    """Run each student forward and backward once on a mock batch; only `Student.dry_run_bytes` is changed.

    Out-of-memory and shape errors appear here, before the first epoch.

    Args:
        pack: The students.
        video_BTCHW: Frames.
        stored: Cached features on the students' device; None computes features from the frames.
        resident: Other tensors in memory, such as the tower's weights. Used on a CPU only.

    Returns:
        Bytes held for backward, by student.
    """
    held = {}
    common = [*resident, video_BTCHW, *(stored or {}).values()]
    for student in pack.active_students:
        device = student.process.device
        buffers = {name: buffer.clone() for name, buffer in student.module.named_buffers()}
        peak_bytes = PeakBytes([*common, *student.weights()]) if device.type == "cpu" else None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), peak_bytes or nullcontext():
            # The second micro-batch runs while the gradients of the first are in memory.
            for _ in range(min(2, student.spec.accumulation)):
                video = video_BTCHW.to(device)
                around = blank_neighbours(video, student.reads.neighbours)
                features = pack.features_for([student], MockBatch(video, stored, around))
                targets = student.task.mock_targets(len(video_BTCHW), device)
                with measure_held(weights_under(student.module)) as bytes_held:
                    with student.autocast(student.spec.precision):
                        outputs = student.module(features, targets)
                    features.release()
                    loss = student.task.loss(outputs, targets)
                if loss.requires_grad:
                    loss.backward()
                held[student.name] = bytes_held.total
                del features, targets, outputs, loss, video, around
        student.dry_run_bytes = peak_bytes.peak if peak_bytes else 0
        student.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in student.module.named_buffers():
                buffer.copy_(buffers[name])
    return held

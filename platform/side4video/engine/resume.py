"""Going on from a checkpoint: the newest that is whole on every worker, as exactly as the number of workers allows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from side4video.core.errors import InputError
from side4video.engine.checkpoint import read_state, restore_student
from side4video.engine.epoch_callback import EpochCallback
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint that a run may go on from."""

    name: str
    """Where it lies."""
    fetch: Callable[[], Path]
    """Brings it to this machine, if it is not there; gives the folder."""


def checkpoint_source(folder: Path) -> CheckpointSource:
    """A checkpoint in a folder of this machine."""
    return CheckpointSource(str(folder), lambda: folder)


@dataclass(frozen=True)
class ResumePosition:
    """Where a run goes on."""

    next_step: int = 0
    is_open: bool = False
    """Whether all steps of an epoch are done, and its end is not."""


def resume(
    checkpoint_sources: Sequence[CheckpointSource], students: Mapping[str, Student], epoch_callback: EpochCallback
) -> ResumePosition:
    """Bring a run to where the newest whole checkpoint left it; collective.

    Args:
        checkpoint_sources: Newest first, the same on every worker; none begins at the beginning.
        students: Freshly built.
        epoch_callback: Gets what the checkpoint knows of the epochs before.

    Raises:
        InputError: If no checkpoint is whole, or the newest is another experiment's or of other weights.
    """
    process = epoch_callback.metrics_logger.process
    if not checkpoint_sources:
        return ResumePosition()
    folder, state, notes = newest_valid(checkpoint_sources, process)
    notes += _differences(state["identity"], epoch_callback.identity, students, folder)
    for student in students.values():
        restore_student(folder, student)
    epoch_callback.restore(folder, state)
    position = ResumePosition(int(state["next_step"]), bool(state.get("is_open", False)))
    if process.is_first:
        for note in notes:
            log.warning("%s", note)
        log.info("resumed at step %d from %s", position.next_step, folder)
    epoch_callback.notes += [*notes, f"went on from step {position.next_step}"]
    epoch_callback.report_recent(state)
    return position


def newest_valid(
    checkpoint_sources: Sequence[CheckpointSource], process: ProcessGroup
) -> tuple[Path, dict[str, Any], list[str]]:
    """The first candidate that every worker can read, its state, and what is to be said of those before it.

    Raises:
        InputError: If none is whole, naming what is wrong with each; or one is of another format.
    """
    wrong: list[str] = []
    for candidate in checkpoint_sources:
        folder, state, problem = Path(), {}, ""
        try:
            folder = candidate.fetch()
            state = read_state(folder)
        except (InputError, OSError) as error:
            problem = error.found if isinstance(error, InputError) else str(error)
        problems = [each for each in process.gather(problem) if each]
        if not problems:
            notes = [f"a damaged checkpoint was passed over: {each}" for each in wrong]
            return folder, state, notes
        wrong.append(f"{candidate.name}: {problems[0]}")
    raise InputError(
        "checkpoint",
        f"none is whole: {' · '.join(wrong)}",
        fix="bring one back from a copy, or run without --resume to start anew",
    )


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], students: Mapping[str, Student], folder: Path
) -> list[str]:
    """What is to be said of another number of workers.

    Raises:
        InputError: If the backbone or the experiment is another.
    """
    # A part of a pack may go on by itself: its students are the same with and without the others.
    digests = {name: before["digests"].get(name) for name in students}
    kin = {name: before.get("kin", {}).get(name) for name in students}
    is_same = digests == now["digests"]
    for key, agrees in (
        ("backbone", before["backbone"] == now["backbone"]),
        ("digests", is_same or (kin == now.get("kin") and None not in kin.values())),
    ):
        if not agrees:
            raise InputError(
                str(folder),
                f"the checkpoint's {key} differs from this run's",
                fix="resume with the spec and the backbone weights it was written with, or start anew",
            )
    old_world, world = int(before["world"]), int(now["world"])
    if old_world == world:
        return []
    reasons = _what_workers_change(students, old_world, world)
    exact = "the same batches in the same order, equal to rounding"
    return [f"went on with {world} worker{'s' * (world > 1)} after {old_world}: " + ("; ".join(reasons) or exact)]


def _what_workers_change(students: Mapping[str, Student], old_world: int, world: int) -> list[str]:
    modules = [module for student in students.values() for module in student.module.modules()]
    own_norms = any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and not getattr(module, "synchronised", False)
        for module in modules
    )
    draws = any((isinstance(module, nn.Dropout) and module.p > 0) or getattr(module, "rate", 0.0) for module in modules)
    videos = next(iter(students.values())).spec.batch_size
    reasons = []
    if own_norms:
        reasons.append(
            f"batch norm statistics are now of {videos / world:g} videos, not {videos / old_world:g} "
            "(cluster.sync_batch_norm would make them those of the whole batch)"
        )
    if draws:
        reasons.append("dropout draws anew: each worker has draws of its own")
    return reasons
